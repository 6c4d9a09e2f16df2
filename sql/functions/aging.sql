-- Aging, an option (settings.aging; '0' = off): a job that has waited for so long where it may run is claimed as if its priority were one
-- higher, and one more each time as much has passed again. Without it a stream of priority 1 keeps priority 2 waiting for ever.
--
-- The job's ready row moves to the other lane with its position, so that it stands there ahead of all who arrived later; jobs.priority keeps what was
-- asked. Below the floors of workers that are busy in that lane: their sweeps find it, as they find a job committed late.
-- Jobs that a limit has let out (positions below zero) are claimed first anyway.

-- Part of maintain(). Looks at the first p_limit rows of each lane: where jobs starve, the oldest stand in front. Deletes and inserts: a
-- claim that has picked the old row finds it gone. Returns how many moved. Proved by tests/sql/test_aging.py.
create or replace function pgqueue.age_waiting(p_limit integer default 1000)
returns bigint
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_sort = off
set enable_bitmapscan = off
set jit = off
as $$
declare
    v_aging interval := (select s.aging from pgqueue.settings s);
    v_now timestamptz := clock_timestamp();
    v_lane record;
    v_moved bigint;
    v_all bigint := 0;
begin
    if v_aging = interval '0' or not pg_try_advisory_xact_lock(7067004, 9) then
        return 0;
    end if;
    for v_lane in select l.queue, l.priority from pgqueue.ready_lanes l where l.priority > 0 order by l.queue, l.priority loop
        with heads as materialized (
            select r.ctid as tid, r.job_id, r.ready_at, r.priority
            from pgqueue.ready r
            where r.queue = v_lane.queue and r.priority = v_lane.priority and r.pos > 0
            order by r.pos
            limit p_limit
        ), old as materialized (
            select h.tid, x.raised
            from heads h
            cross join lateral (select w.priority from pgqueue.jobs w where w.id = h.job_id limit 1) j
            cross join lateral (
                select greatest(j.priority - floor(extract(epoch from v_now - h.ready_at) / extract(epoch from v_aging)), 0)::smallint as raised
            ) x
            where h.ready_at <= v_now - v_aging and x.raised < h.priority
        ), locked as materialized (
            -- Only these: what somebody is claiming is on its way.
            select r.ctid as tid from pgqueue.ready r where r.ctid = any (array(select o.tid from old o)) for update skip locked
        ), gone as (
            delete from pgqueue.ready r where r.ctid = any (array(select l.tid from locked l))
            returning r.*, (select o.raised from old o where o.tid = r.ctid) as raised
        )
        insert into pgqueue.ready (job_id, pos, ready_at, expires_at, attempts, flags, priority, queue, job_type, tenant_id)
        select g.job_id, g.pos, g.ready_at, g.expires_at, g.attempts, g.flags, g.raised, g.queue, g.job_type, g.tenant_id from gone g;
        get diagnostics v_moved = row_count;
        if v_moved > 0 then
            perform pgqueue.ring(array[v_lane.queue]);
            v_all := v_all + v_moved;
        end if;
    end loop;
    return v_all;
end
$$;
revoke all on function pgqueue.age_waiting(integer) from public;
