-- The feed: finished jobs that named it, each handed out until somebody acknowledges it.
--
-- At least once: take, do what is to be done, acknowledge. What is not acknowledged within the lease is handed out again. In one
-- transaction with the reader's own writes it is exactly once. Consumed, not scrolled through: a cursor "finished since"
-- would miss what commits late. No order is promised. Proved by tests/sql/test_feed.py and tests/races/test_feed.py.

-- Take up to p_limit completions of a feed that nobody holds. result and errors are those of this finish; NULL when the job
-- was retried since. taken counts how often it was handed out, this time included. A login confined to a tenant gets that
-- tenant's. A custom plan: a generic one cannot use the tenant for the index, and reads everybody's. Locks completions with SKIP LOCKED: readers side by side never wait and never get the same row.
create or replace function pgqueue.take_completions(
    p_feed text,
    p_limit bigint default 100,
    p_lease interval default '1 minute'
)
returns table (
    completion_id bigint,
    job_id uuid,
    job_type text,
    status text,
    finished_at timestamptz,
    result jsonb,
    result_url text,
    errors jsonb,
    idempotency_key text,
    taken integer
)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
set plan_cache_mode = force_custom_plan
as $$
#variable_conflict use_column
declare
    v_tenant text := pgqueue.current_tenant();
    v_now timestamptz := clock_timestamp();
begin
    if p_limit is null or p_limit not between 1 and 10000 then
        raise exception using errcode = 'PQ006', message = format('limit is %s: take 1 to 10,000 completions', coalesce(p_limit::text, 'null'));
    end if;
    if p_lease is null or p_lease not between interval '1 second' and interval '1 day' then
        raise exception using errcode = 'PQ006', message = format('lease is %s: give 1 second to 1 day', coalesce(p_lease::text, 'null'));
    end if;
    return query
        with picked as materialized (
            select c.ctid as tid
            from pgqueue.completions c
            where c.feed = p_feed and (v_tenant is null or c.tenant_id = v_tenant) and c.taken_until <= v_now
            order by c.tenant_id, c.id
            limit p_limit
            for update skip locked
        ), held as (
            update pgqueue.completions c set taken_until = v_now + p_lease, taken = c.taken + 1
            where c.ctid = any (array(select p.tid from picked p))
            returning c.id, c.job_id, c.job_type, c.status, c.finished_at, c.taken
        )
        select h.id, h.job_id, h.job_type, h.status, h.finished_at, f.result, f.result_url, f.errors, j.idempotency_key, h.taken
        from held h
        left join lateral (
            select x.result, x.result_url, x.errors from pgqueue.finished x
            where x.job_id = h.job_id and x.finished_at = h.finished_at limit 1
        ) f on true
        left join lateral (select x.idempotency_key from pgqueue.jobs x where x.id = h.job_id limit 1) j on true;
end
$$;
revoke all on function pgqueue.take_completions(text, bigint, interval) from public;

-- Acknowledge completions: they are gone. Returns how many there were; repeating it is harmless. Also valid when the lease is over:
-- the work was done, whoever else has it by now.
create or replace function pgqueue.ack_completions(p_feed text, p_completion_ids bigint[])
returns bigint
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
    v_tenant text := pgqueue.current_tenant();
    v_acknowledged bigint;
begin
    -- By id alone (|| keeps completions_pkey out, which is read from the feed's start). In one order, so that two readers that acknowledge the same rows do not wait for each other in a circle.
    perform from pgqueue.completions c
    where c.feed || '' = p_feed and (v_tenant is null or c.tenant_id = v_tenant) and c.id = any (p_completion_ids)
    order by c.id
    for update;
    delete from pgqueue.completions c
    where c.feed || '' = p_feed and (v_tenant is null or c.tenant_id = v_tenant) and c.id = any (p_completion_ids);
    get diagnostics v_acknowledged = row_count;
    return v_acknowledged;
end
$$;
revoke all on function pgqueue.ack_completions(text, bigint[]) from public;
