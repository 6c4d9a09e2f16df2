-- Promotion: what is scheduled becomes ready when its time has come. Part of maintain().

-- Move jobs whose time has come from scheduled to ready and ring; then look at the gates. p_floor, next_floor: see promote_due().
create or replace function pgqueue.promote(p_limit integer default 1000, p_floor timestamptz default null)
returns table (moved bigint, next_floor timestamptz, next_due_at timestamptz)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    select p.moved, p.next_floor, p.next_due_at into moved, next_floor, next_due_at from pgqueue.promote_due(p_limit, p_floor) p;
    perform pgqueue.open_gates(p_limit) from pgqueue.settings s where s.limited;
    next_due_at := least(next_due_at, pgqueue.next_opening());
    return next;
end
$$;
revoke all on function pgqueue.promote(integer, timestamptz) from public;

-- The part of promote() that takes no gate's lock. Earliest first. p_floor: as with claims, the time
-- below which the caller has seen nothing left; it spares the scan over dead index entries. Returns how many moved, the next floor
-- (NULL = start over without one: the sweep that finds what was committed late below it) and when the next job is due.
create or replace function pgqueue.promote_due(p_limit integer, p_floor timestamptz)
returns table (moved bigint, next_floor timestamptz, next_due_at timestamptz)
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_sort = off
set enable_bitmapscan = off
set jit = off
as $$
#variable_conflict use_column
declare
    v_now timestamptz := clock_timestamp();
    v_queues text[];
begin
    -- A floor in the future: the clock has been set back, and what is due now lies below it.
    p_floor := case when p_floor <= v_now then p_floor end;
    moved := 0;
    next_floor := p_floor;
    if not pg_try_advisory_xact_lock(7067004, 1) then
        return next;
        return;
    end if;
    with due as materialized (
        select s.ctid as tid, s.*
        from pgqueue.scheduled s
        where s.due_at <= v_now and s.due_at >= coalesce(p_floor, '-infinity')
        order by s.due_at
        limit p_limit
        for update skip locked
    ), gone as (
        delete from pgqueue.scheduled s where s.ctid = any (array(select d.tid from due d))
    ), placed as (
        insert into pgqueue.ready (job_id, queue, priority, job_type, attempts, flags, ready_at, expires_at)
        select d.job_id, d.queue, d.priority, d.job_type, d.attempts, d.flags, d.due_at, d.expires_at
        from due d
    )
    select count(*), max(d.due_at), array_agg(distinct d.queue)
    into moved, next_floor, v_queues
    from due d;
    if moved > 0 then
        perform pgqueue.ring(v_queues);
    end if;
    next_floor := greatest(next_floor, p_floor);
    -- Capped at what clients can load: PostgreSQL's time goes on to the year 294276.
    select least(s.due_at, timestamptz '9999-12-30 00:00:00+00') into next_due_at
    from pgqueue.scheduled s
    where s.due_at >= coalesce(next_floor, '-infinity')
    order by s.due_at
    limit 1;
    return next;
end
$$;
revoke all on function pgqueue.promote_due(integer, timestamptz) from public;
