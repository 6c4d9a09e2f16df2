-- All of these run with the rights of the schema's owner: callers need no right on any table.

-- The API's door: a work and the demand for it, or neither. Returns the work's code.
create or replace function numbers.create_work(p_add_up_to bigint)
returns text
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_job_id uuid := pgqueue.uuid_v7();
    v_work_code text := 'api-' || v_job_id;
begin
    insert into numbers.works (work_code, job_id, add_up_to) values (v_work_code, v_job_id, p_add_up_to);
    insert into numbers.work_events (work_code, event) values (v_work_code, 'created');
    insert into pgqueue.jobs (id, job_type, payload)
    values (v_job_id, 'work_demand', jsonb_build_object('add_up_to', p_add_up_to, 'done', false, 'work_code', v_work_code));
    return v_work_code;
end
$$;
revoke all on function numbers.create_work(bigint) from public;

-- The work that a demand asks for, locked; a bare demand's is made. No row: there is no such work. Two demands of one work
-- wait for each other here; the second finds it done.
create or replace function numbers.start_work(p_job_id uuid, p_attempt integer, p_add_up_to bigint, p_work_code text default null)
returns table (work_code text, add_up_to bigint, done boolean)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_work_code text := coalesce(p_work_code, 'consumer-' || p_job_id);
    v_work numbers.works;
begin
    if p_work_code is null then
        insert into numbers.works (work_code, job_id, add_up_to) values (v_work_code, p_job_id, p_add_up_to)
        on conflict do nothing;
        if found then
            insert into numbers.work_events (work_code, event, attempt) values (v_work_code, 'created', p_attempt);
        end if;
    end if;
    select * into v_work from numbers.works w where w.work_code = v_work_code for update;
    if not found then
        return;
    end if;
    insert into numbers.work_events (work_code, event, attempt)
    values (v_work_code, case when v_work.done then 'refused' else 'started' end, p_attempt);
    return query select v_work.work_code, v_work.add_up_to, v_work.done;
end
$$;
revoke all on function numbers.start_work(uuid, integer, bigint, text) from public;

-- Marks a work done. False: it was already.
create or replace function numbers.finish_work(p_work_code text, p_attempt integer, p_total bigint)
returns boolean
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    update numbers.works w set total = p_total, done = true, updated_on = clock_timestamp()
    where w.work_code = p_work_code and not w.done;
    if not found then
        return false;
    end if;
    insert into numbers.work_events (work_code, event, attempt) values (p_work_code, 'finished', p_attempt);
    return true;
end
$$;
revoke all on function numbers.finish_work(text, integer, bigint) from public;

-- Works that were created from p_from on and before p_until, oldest first; the page after p_after, if given.
create or replace function numbers.search_works(
    p_from timestamptz,
    p_until timestamptz,
    p_done boolean default null,
    p_after text default null,
    p_limit integer default 100
)
returns setof numbers.works
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
    select w.*
    from numbers.works w
    where w.created_on >= p_from and w.created_on < p_until
        and (p_done is null or w.done = p_done)
        and (p_after is null
            or (w.created_on, w.work_code) > (select a.created_on, a.work_code from numbers.works a where a.work_code = p_after))
    order by w.created_on, w.work_code
    limit least(greatest(p_limit, 0), 10000);
$$;
revoke all on function numbers.search_works(timestamptz, timestamptz, boolean, text, integer) from public;
