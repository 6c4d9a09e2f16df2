-- WHERE id IN (SELECT ... LIMIT n FOR UPDATE SKIP LOCKED): a nested loop runs the subquery once per row.
-- function: pgqueue.claim(bigint,text[],integer,bigint[],boolean)
-- caught as: over_limit
-- The planner comes to that loop by itself now and then; here it is led there.
-- replace
 SET jit TO 'off'
-- with
 SET jit TO 'off'
 SET enable_hashjoin TO 'off'
 SET enable_mergejoin TO 'off'
 SET enable_hashagg TO 'off'
 SET enable_material TO 'off'
 SET enable_memoize TO 'off'
-- replace
        with picked as materialized (
            select x.*
            from generate_series(0, 4 * v_queues - 1) as lane (n)
-- with
        with picked as materialized (
            delete from pgqueue.ready d
            where d.job_id in (
            select x.job_id
            from generate_series(0, 4 * v_queues - 1) as lane (n)
-- replace
            ) x
            limit p_limit
        ), gone as (
            delete from pgqueue.ready r where r.ctid = any (array(select p.tid from picked p))
        ), owned
-- with
            ) x
            limit p_limit
            )
            returning d.job_id, d.queue, d.priority, d.pos, d.job_type, d.attempts, d.flags, d.ready_at
        ), owned
-- end
