-- Jobs with an ordering_key that wait for themselves: for a parent, for whoever stands before that in its own key, for his parents, and so on.
-- Of such a circle one job waits for a parent, directly or through parents without a key, whose place was drawn later than its own (an
-- order alone goes back in the sequence): it begins there, and where there is none, which is always but for a mistake of
-- ours, no more than dependencies of ordered jobs are read. From each of at most 100 such jobs, each job that it waits for is looked at once.
-- Without jit = off it was compiled: verify() took 0.5 s on an empty queue, 0.04 s since.
create or replace function pgqueue.circles()
returns table (job_id uuid, gate text)
language sql
stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
    with recursive ahead (job_id, gate, seq, parent_id) as (
        select o.job_id, o.gate, o.seq, d.parent_id
        from pgqueue.ordered_jobs o
        cross join lateral (select x.parent_id from pgqueue.dependencies x where x.job_id = o.job_id offset 0) d
        union
        select a.job_id, a.gate, a.seq, d.parent_id
        from ahead a
        cross join lateral (select x.parent_id from pgqueue.dependencies x where x.job_id = a.parent_id offset 0) d
        where not exists (select from pgqueue.ordered_jobs p where p.job_id = a.parent_id)
    )
    select c.job_id, c.gate
    from (
        select distinct a.job_id, a.gate
        from ahead a join pgqueue.ordered_jobs p on p.job_id = a.parent_id and p.seq >= a.seq
        limit 100
    ) c
    where exists (
        with recursive waited_for (id) as (
            select d.parent_id from pgqueue.dependencies d where d.job_id = c.job_id
            union
            select n.id
            from waited_for w
            cross join lateral (
                select d.parent_id as id from pgqueue.dependencies d where d.job_id = w.id
                union all
                select b.job_id
                from (select o.gate, o.seq from pgqueue.ordered_jobs o where o.job_id = w.id limit 1) o
                cross join lateral (
                    select x.job_id from pgqueue.ordered_jobs x where x.gate = o.gate and x.seq < o.seq order by x.seq desc limit 1
                ) b
            ) n
        )
        select from waited_for w where w.id = c.job_id
    );
$$;
revoke all on function pgqueue.circles() from public;

-- Every violation of the invariants between the tables, from one snapshot. No rows = all is well. Reads everything: for
-- tests and for doubts, not for dashboards. A login confined to a tenant gets no rows: they would name other tenants' jobs.
-- On 15, compiled, it takes as long or longer: 3.7 s for 284,000 jobs either way.
create or replace function pgqueue.verify()
returns table (problem text, job_id uuid, detail text)
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
    select p.problem, p.job_id, p.detail
    from (
    with places as (
        select r.job_id, 'ready' as place, r.flags from pgqueue.ready r
        union all select s.job_id, 'scheduled', s.flags from pgqueue.scheduled s
        union all select b.job_id, 'blocked', b.flags from pgqueue.blocked b
        union all select u.job_id, 'running', u.flags from pgqueue.running u
        union all select f.job_id, 'finished', 0 from pgqueue.finished f
    ), counted as (
        select p.job_id, count(*) as n, string_agg(p.place, ', ' order by p.place) as places,
            bool_or(p.place <> 'finished') as live, bool_or(p.flags & 1 <> 0) as keyed, bit_or(p.flags & 14) as notices,
            bool_or(p.flags & 64 <> 0) as batched
        from places p group by p.job_id
    )
    select 'job in no table', j.id, format('inserted at %s', j.created_at)
    from pgqueue.jobs j where not exists (select from counted c where c.job_id = j.id)
    union all
    select 'job in several tables', c.job_id, c.places from counted c where c.n > 1
    union all
    select 'state without a job', c.job_id, c.places
    from counted c where not exists (select from pgqueue.jobs j where j.id = c.job_id)
    union all
    select 'finished job holds its unique key', c.job_id, j.unique_key
    from counted c join pgqueue.jobs j on j.id = c.job_id where not c.live and j.unique_key is not null
    union all
    select 'unique key and flag disagree', c.job_id, c.places
    from counted c join pgqueue.jobs j on j.id = c.job_id where c.live and (j.unique_key is not null) <> c.keyed
    union all
    select 'notices and flags disagree', c.job_id, c.places
    from counted c join pgqueue.jobs j on j.id = c.job_id
    where c.live and c.notices <> pgqueue.notice_flags(j.notify, j.feed, j.callback_url)
    union all
    select 'batch and flag disagree', c.job_id, c.places
    from counted c join pgqueue.jobs j on j.id = c.job_id where c.live and (j.batch_id is not null) <> c.batched
    union all
    select 'job of a batch that does not exist', j.id, j.batch_id::text
    from pgqueue.jobs j where j.batch_id is not null and not exists (select from pgqueue.batches b where b.id = j.batch_id)
    union all
    select 'batch counts its unfinished jobs wrong', null, format('batch %s: %s, and there are %s', b.id, n.unfinished, coalesce(u.jobs, 0))
    -- Finished ones cannot be compared: retention removes them.
    from pgqueue.batches b
    cross join lateral (
        select b.total - b.succeeded - b.failed - b.cancelled
            + coalesce(sum(l.added - l.succeeded - l.failed - l.cancelled), 0) as unfinished
        from pgqueue.batch_log l where l.batch_id = b.id
    ) n
    left join (
        select j.batch_id, count(*) as jobs from pgqueue.jobs j join counted c on c.job_id = j.id and c.live
        where j.batch_id is not null group by j.batch_id
    ) u on u.batch_id = b.id
    where n.unfinished <> coalesce(u.jobs, 0)
    union all
    select 'batch is over and not settled', null, format('batch %s', b.id)
    -- Numbers in the log are news that somebody will settle.
    from pgqueue.batches b
    where (b.closed_at is not null and b.total = b.succeeded + b.failed + b.cancelled) <> (b.finished_at is not null)
        and not exists (select from pgqueue.batch_log l where l.batch_id = b.id)
    union all
    select 'batch without the job that was to follow', null, format('batch %s', b.id)
    from pgqueue.batches b
    -- One that is due still has a row in the log.
    where not exists (select from pgqueue.batch_log l where l.batch_id = b.id) and (
        b.on_complete is not null and b.finished_at is not null and b.complete_job_id is null and not b.refused ? 'complete'
        or b.on_success is not null and b.finished_at is not null and b.failed + b.cancelled = 0 and b.success_job_id is null
            and not b.refused ? 'success'
        or b.on_failure is not null and b.failed + b.cancelled > 0 and b.failure_job_id is null and not b.refused ? 'failure')
    union all
    select 'job that has waited for a signal without the mark', b.job_id, b.signal
    from pgqueue.blocked b where b.reason = 'signal' and b.flags & 256 = 0
    union all
    select 'job waits for a signal that it has', b.job_id, b.signal
    -- One that has just come may wait for its job to be looked at: pause_until() found the row locked.
    from pgqueue.blocked b join pgqueue.signals s on s.job_id = b.job_id and s.name = b.signal
    where b.reason = 'signal' and (b.look_at is null or b.look_at > clock_timestamp() + interval '1 second')
    union all
    select 'running job of a worker that is gone', r.job_id, format('worker %s', r.worker_id)
    from pgqueue.running r
    where not exists (select from pgqueue.workers w where w.id = r.worker_id and w.rescued_at is null)
    union all
    select 'follow-up of a job that does not run', b.job_id, format('waits for %s', b.waits_for)
    from pgqueue.blocked b
    where b.reason = 'follow_up' and not exists (select from pgqueue.running r where r.job_id = b.waits_for)
        and not exists (select from pgqueue.jobs j where j.id = b.waits_for and j.unique_key is not null)
    union all
    select 'blocked job that waits for nothing', b.job_id, b.reason
    from pgqueue.blocked b
    where b.reason = 'dependencies' and not exists (select from pgqueue.dependencies d where d.job_id = b.job_id)
    union all
    select 'dependency of a job that is not blocked', d.job_id, format('on job %s', d.parent_id)
    from pgqueue.dependencies d
    where not exists (select from pgqueue.blocked b where b.job_id = d.job_id and b.reason = 'dependencies')
    union all
    select 'dependency on a job without the mark', d.job_id, format('on job %s', d.parent_id)
    from pgqueue.dependencies d
    where not exists (select from places p where p.job_id = d.parent_id and p.flags & 16 <> 0)
    union all
    select 'parked job without a gate', b.job_id, null from pgqueue.blocked b where b.reason = 'limit' and b.gate is null
    union all
    select 'place of an attempt that does not run', s.job_id, format('gate %s', s.gate)
    from pgqueue.slots s
    where not exists (select from pgqueue.running r where r.job_id = s.job_id and r.token = s.token and r.flags & 32 <> 0)
    union all
    select 'running job holds no place in spite of its mark', r.job_id, format('token %s', r.token)
    from pgqueue.running r
    where r.flags & 32 <> 0 and not exists (select from pgqueue.slots s where s.job_id = r.job_id)
    union all
    select 'gate has room, and nobody is told', (select b.job_id from pgqueue.blocked b where b.gate = g.gate limit 1), format('gate %s', g.gate)
    from (select distinct b.gate from pgqueue.blocked b where b.gate is not null) x
    cross join lateral pgqueue.gate_room(array[x.gate]) g
    where (g.room > 0 or g.next_at is not null)
        and (g.head is null or exists (select from pgqueue.blocked b where b.job_id = g.head and b.gate = g.gate))
        and not exists (select from pgqueue.openings o where o.gate = g.gate)
        and not exists (
            select from pgqueue.ready r
            join pgqueue.jobs j on j.id = r.job_id
            cross join lateral pgqueue.gates_of(r.job_type, r.queue, j.tenant_id, j.concurrency_key, j.ordering_key) o
            where r.pos < 0 and o = g.gate)
    union all
    select 'ordered job out of its order', j.id, format('ordering key %s', j.ordering_key)
    from pgqueue.jobs j
    join counted c on c.job_id = j.id
    where j.ordering_key is not null and c.live <> exists (select from pgqueue.ordered_jobs o where o.job_id = j.id)
        and (c.live or not coalesce(j.ordering_on_failure = 'block'
            and exists (select from pgqueue.finished f where f.job_id = j.id and f.status = 'failed'), false))
    union all
    select 'job waits for itself, through parents and orders', c.job_id, format('its place is at gate %s', c.gate) from pgqueue.circles() c
    union all
    select 'place in an order without a job', o.job_id, format('gate %s', o.gate)
    from pgqueue.ordered_jobs o
    where not exists (select from pgqueue.jobs j where j.id = o.job_id and j.ordering_key is not null)
    union all
    select 'blocked by a hook without its mark', b.job_id, b.reason from pgqueue.blocked b where b.reason = 'hook' and b.flags & 1024 = 0
    union all
    select 'held job that is not blocked', p.job_id, p.place from places p where p.place <> 'blocked' and p.flags & 1024 <> 0
    union all
    select 'hook call for a job that is not finished', c.job_id, c.error
    from pgqueue.hook_calls c where not exists (select from pgqueue.finished f where f.job_id = c.job_id)
    union all
    select 'one token, two attempts', t.job_id, format('token %s', t.token)
    from (
        select r.job_id, r.token from pgqueue.running r
        union all select f.job_id, f.token from pgqueue.finished f where f.token is not null
        union all select a.job_id, a.token from pgqueue.attempts a
    ) t group by t.job_id, t.token having count(*) > 1
    union all
    select 'attempts or results without a job', x.job_id, x.kind
    from (select a.job_id, 'attempts' as kind from pgqueue.attempts a
          union select r.job_id, 'job_results' from pgqueue.job_results r
          union select c.job_id, 'completions' from pgqueue.completions c
          union select s.job_id, 'signals' from pgqueue.signals s) x
    where not exists (select from pgqueue.jobs j where j.id = x.job_id)
    union all
    select 'attempt number of a running job', r.job_id, format('attempt %s', r.attempt) from pgqueue.running r where r.attempt < 1
    ) p (problem, job_id, detail)
    where pgqueue.current_tenant() is null;
$$;
revoke all on function pgqueue.verify() from public;
