-- The order of jobs with an ordering_key. The protocol is told in limits.sql.

-- Write down the order of those of these jobs that have an ordering_key, as given: the insert trigger does for new ones with an ordering_key, retry() for one that waits again.
create or replace function pgqueue.enter_order(p_job_ids uuid[])
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    insert into pgqueue.ordered_jobs (gate, job_id)
    select '0:' || coalesce(quote_ident(j.tenant_id), '') || ':' || j.ordering_key, j.id
    from unnest(p_job_ids) with ordinality as u (id, n)
    cross join lateral (select w.id, w.tenant_id, w.ordering_key from pgqueue.jobs w where w.id = u.id limit 1) j
    where j.ordering_key is not null
    order by u.n
    on conflict (job_id) do nothing;
    perform pgqueue.start_limiting();
end
$$;
revoke all on function pgqueue.enter_order(uuid[]) from public;

-- These jobs have finished (or are gone): the next of their keys may run. One that failed and was inserted with ordering_on_failure
-- 'block' keeps its place until it is retried and succeeds, or skip_ordered() takes it away.
create or replace function pgqueue.leave_order(p_job_ids uuid[])
returns void
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
    with gone as (
        delete from pgqueue.ordered_jobs o
        where o.job_id = any (p_job_ids)
            -- Looked up, not joined: complete_owned() turns nested loops off, and a hash of jobs reads a million of them at each report.
            and not coalesce((select j.ordering_on_failure from pgqueue.jobs j where j.id = o.job_id) = 'block'
                and (select f.status from pgqueue.finished f where f.job_id = o.job_id) = 'failed', false)
        returning o.gate
    )
    insert into pgqueue.openings (gate) select distinct g.gate from gone g;
$$;
revoke all on function pgqueue.leave_order(uuid[]) from public;

-- A failed job that blocks its ordering key (ordering_on_failure) gives way to those after it, and stays failed. False = it blocks nothing.
create or replace function pgqueue.skip_ordered(p_job_id uuid)
returns boolean
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_gate text;
begin
    perform pgqueue.check_job(p_job_id);
    -- Locked: a retry() that finds the place and keeps it takes this row away.
    perform from pgqueue.finished f where f.job_id = p_job_id for key share;
    if not found then
        return false;
    end if;
    delete from pgqueue.ordered_jobs o where o.job_id = p_job_id returning o.gate into v_gate;
    if not found then
        return false;
    end if;
    insert into pgqueue.openings (gate) values (v_gate);
    perform pgqueue.ring_all();
    return true;
end
$$;
revoke all on function pgqueue.skip_ordered(uuid) from public;
