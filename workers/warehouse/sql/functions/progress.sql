-- The checkpoint of an import: who may move it, and that it moves with the rows.
--
--   begin_import()   once per attempt: where to go on
--   hold_import()    first in each chunk's transaction: locks the checkpoint, and refuses an attempt that was overtaken
--   advance_import() last in it
--
-- Lock order: import_progress, products, stock_levels. Functions run with the caller's rights: roles.sql says which.

-- Begin an attempt, or go on behind what earlier ones stored. Waits for a chunk that an overtaken attempt commits just now.
-- changed: the source is not what the first attempt found. A finished import that somebody retries starts over.
-- Raises PQ001 for an attempt that has been overtaken.
create or replace function warehouse.begin_import(
    p_job_id uuid,
    p_token bigint,
    p_tenant_id text,
    p_kind text,
    p_source text,
    p_fingerprint text
)
returns table (checkpoint bigint, lines bigint, done boolean, changed boolean)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_found warehouse.import_progress;
begin
    insert into warehouse.import_progress (job_id, token, tenant_id, kind, source, fingerprint)
    values (p_job_id, p_token, p_tenant_id, p_kind, p_source, p_fingerprint)
    on conflict (job_id) do nothing;
    select * into v_found from warehouse.import_progress i where i.job_id = p_job_id for update;
    if v_found.token > p_token then
        raise exception using errcode = 'PQ001', message = format('job %s: a later attempt has this import', p_job_id);
    end if;
    -- 'ended', not 'lost': that attempt was heard to its end, and then somebody wanted the job again.
    if v_found.token < p_token and (v_found.done or v_found.fingerprint <> p_fingerprint)
        and pgqueue.settle(p_job_id, v_found.token) = 'ended'
    then
        delete from warehouse.import_progress i where i.job_id = p_job_id;
        insert into warehouse.import_progress (job_id, token, tenant_id, kind, source, fingerprint)
        values (p_job_id, p_token, p_tenant_id, p_kind, p_source, p_fingerprint)
        returning * into v_found;
    else
        update warehouse.import_progress i set token = p_token where i.job_id = p_job_id;
    end if;
    return query select v_found.checkpoint, v_found.lines, v_found.done, v_found.fingerprint <> p_fingerprint;
end
$$;
revoke all on function warehouse.begin_import(uuid, bigint, text, text, text, text) from public;

-- Lock the checkpoint until the end of the transaction; returns the tenant whose rows may be written.
-- Raises PQ001 unless this attempt owns the job and everything before p_from is stored, and nothing behind it.
create or replace function warehouse.hold_import(p_job_id uuid, p_token bigint, p_from bigint)
returns text
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant text;
begin
    select i.tenant_id into v_tenant from warehouse.import_progress i
    where i.job_id = p_job_id and i.token = p_token and i.checkpoint = p_from and not i.done
    for update;
    if not found or pgqueue.settle(p_job_id, p_token) <> 'running' then
        raise exception using errcode = 'PQ001', message = format('job %s: another attempt has this import', p_job_id);
    end if;
    return v_tenant;
end
$$;
revoke all on function warehouse.hold_import(uuid, bigint, bigint) from public;

-- Move the checkpoint and add up. Keeps the first 100 problems; refused counts all.
create or replace function warehouse.advance_import(
    p_job_id uuid,
    p_to bigint,
    p_lines bigint,
    p_processed bigint,
    p_created bigint,
    p_updated bigint,
    p_refused bigint,
    p_problems jsonb,
    p_done boolean
)
returns void
language sql
set search_path = pg_catalog, pg_temp
as $$
    update warehouse.import_progress i
    set checkpoint = p_to,
        lines = p_lines,
        processed = i.processed + p_processed,
        created = i.created + p_created,
        updated = i.updated + p_updated,
        skipped = i.skipped + p_processed - p_created - p_updated - p_refused,
        refused = i.refused + p_refused,
        problems = case when p_problems = '[]' then i.problems else i.problems || coalesce((
            select jsonb_agg(k.problem order by k.at)
            from (
                select e.problem, (e.problem -> 'row')::bigint as at from jsonb_array_elements(p_problems) as e (problem)
                order by at limit greatest(100 - jsonb_array_length(i.problems), 0)
            ) k
        ), '[]') end,
        done = p_done,
        updated_at = clock_timestamp()
    where i.job_id = p_job_id;
$$;
revoke all on function warehouse.advance_import(uuid, bigint, bigint, bigint, bigint, bigint, bigint, jsonb, boolean) from public;

-- What an import came to, over all its attempts.
create or replace function warehouse.import_totals(p_job_id uuid)
returns table (processed bigint, created bigint, updated bigint, skipped bigint, refused bigint, problems jsonb)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select i.processed, i.created, i.updated, i.skipped, i.refused, i.problems
    from warehouse.import_progress i where i.job_id = p_job_id;
$$;
revoke all on function warehouse.import_totals(uuid) from public;

-- Forget the checkpoints of imports that nobody touched for p_age; returns how many.
create or replace function warehouse.forget_imports(p_age interval default '30 days')
returns bigint
language sql
set search_path = pg_catalog, pg_temp
as $$
    with old as materialized (
        -- Skip locked: two that clean up at once take each what the other has not.
        select i.job_id from warehouse.import_progress i
        where i.updated_at < clock_timestamp() - p_age
        for update skip locked
    ), gone as (
        delete from warehouse.import_progress i using old where i.job_id = old.job_id returning 1
    )
    select count(*) from gone;
$$;
revoke all on function warehouse.forget_imports(interval) from public;
