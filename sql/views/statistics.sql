-- Queues and job types in numbers. Nothing here reads history: rates and percentiles come from the rollups, depths are
-- counted up to a limit, and the queues that have work are found by skipping through the claim index.

-- Estimate of the p_fraction quantile, in seconds, of a histogram over pgqueue.stats_bounds(): linear within the
-- bucket that holds it. NULL buckets (jobs that never ran) do not count. NULL = nothing counted.
create or replace function pgqueue.stats_quantile(p_buckets smallint[], p_jobs bigint[], p_fraction double precision)
returns double precision
language sql
immutable
parallel safe
begin atomic
    select min(c.low + (c.high - c.low) * greatest(p_fraction * c.total - (c.upto - c.jobs), 0) / c.jobs)
    from (
        select g.jobs, sum(g.jobs) over (order by g.bucket) as upto, sum(g.jobs) over () as total,
            coalesce((pgqueue.stats_bounds())[g.bucket], 0) as low,
            coalesce((pgqueue.stats_bounds())[g.bucket + 1], (pgqueue.stats_bounds())[g.bucket]) as high
        from (
            select h.bucket, sum(h.jobs)::double precision as jobs
            from unnest(p_buckets, p_jobs) as h (bucket, jobs)
            where h.bucket is not null and h.jobs > 0
            group by h.bucket
        ) g
    ) c
    where c.upto >= p_fraction * c.total;
end;
revoke all on function pgqueue.stats_quantile(smallint[], bigint[], double precision) from public;

-- The rollups, merged or not. Filter on starts_at: it reaches the index of pgqueue.stats.
create or replace view pgqueue.stats_recent with (security_invoker = true) as
select s.starts_at, s.job_type, s.queue, s.worker_id, s.outcome, s.wait_bucket, s.run_bucket, s.jobs
from pgqueue.stats s
where s.span = 'minute'
union all
select s.starts_at, s.job_type, s.queue, s.worker_id, s.outcome, s.wait_bucket, s.run_bucket, s.jobs
from pgqueue.stats s
where s.span = 'hour'
union all
select l.minute, l.job_type, l.queue, l.worker_id, l.outcome, l.wait_bucket, l.run_bucket, l.jobs
from pgqueue.stats_log l;
comment on view pgqueue.stats_recent is 'Finished jobs and ended attempts per minute (later per hour), type, queue, worker and outcome. Sum jobs; filter on starts_at.';
comment on column pgqueue.stats_recent.starts_at is 'Start of the minute or hour.';
comment on column pgqueue.stats_recent.job_type is 'The type.';
comment on column pgqueue.stats_recent.queue is 'The queue.';
comment on column pgqueue.stats_recent.worker_id is 'Who ran them; null for jobs that never ran, and in hours.';
comment on column pgqueue.stats_recent.outcome is
    'succeeded, partial, failed, cancelled (the job finished); retrying, lost, timed_out, snoozed, paused, released (an attempt ended).';
comment on column pgqueue.stats_recent.wait_bucket is 'How long they waited, as an index of pgqueue.stats_bounds().';
comment on column pgqueue.stats_recent.run_bucket is 'How long they ran, as an index of pgqueue.stats_bounds().';
comment on column pgqueue.stats_recent.jobs is 'How many.';

-- The lanes (queue, priority) that have ready jobs, each with its first one. One index probe per lane, however many jobs
-- wait: the recursion asks for the first entry after the last lane.
create or replace view pgqueue.ready_lanes with (security_invoker = true) as
with recursive lanes as (
    (
        select r.queue, r.priority, r.pos, r.ready_at, r.job_id
        from pgqueue.ready r
        order by r.queue, r.priority, r.pos
        limit 1
    )
    union all
    select n.queue, n.priority, n.pos, n.ready_at, n.job_id
    from lanes l
    cross join lateral (
        select r.queue, r.priority, r.pos, r.ready_at, r.job_id
        from pgqueue.ready r
        where (r.queue, r.priority) > (l.queue, l.priority)
        order by r.queue, r.priority, r.pos
        limit 1
    ) n
)
select l.queue, l.priority, l.pos, l.ready_at, l.job_id from lanes l;
comment on view pgqueue.ready_lanes is 'The queues and priorities that have ready jobs, with the first job of each. Costs one index probe per row.';
comment on column pgqueue.ready_lanes.queue is 'The queue.';
comment on column pgqueue.ready_lanes.priority is '0 high, 1 normal, 2 low, 3 bulk.';
comment on column pgqueue.ready_lanes.pos is 'Position of the first job.';
comment on column pgqueue.ready_lanes.ready_at is 'Since when the first job may run; a retried job further back can be older.';
comment on column pgqueue.ready_lanes.job_id is 'The first job.';

-- Ready jobs of a queue, counted up to 100,000 along the claim index. A function for its settings: as part of the view the
-- planner's guess at the number of lanes made it compile the query (JIT), 1.8 s instead of 34 ms.
create or replace function pgqueue.ready_depth(p_queue text)
returns bigint
language sql
stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
as $$
    select count(*)
    from (select from pgqueue.ready r where r.queue = p_queue order by r.queue, r.priority, r.pos limit 100000) x;
$$;
revoke all on function pgqueue.ready_depth(text) from public;

-- Rates run over the last five minute buckets (four to five minutes: the current one is not over yet), quantiles
-- over the last hour. Counted at most: 100,000 ready per queue; 100,000 scheduled, 100,000 blocked and the 10,000 latest
-- failures of all queues together.
create or replace view pgqueue.queue_stats with (security_invoker = true) as
with recent as materialized (
    select s.queue, s.outcome, s.wait_bucket, s.run_bucket, sum(s.jobs)::bigint as jobs,
        coalesce(sum(s.jobs) filter (where s.starts_at >= date_trunc('minute', statement_timestamp() - interval '4 minutes')), 0)::bigint
            as jobs_now
    from pgqueue.stats_recent s
    where s.starts_at >= statement_timestamp() - interval '1 hour'
    group by s.queue, s.outcome, s.wait_bucket, s.run_bucket
), lanes as materialized (
    select l.queue, min(l.ready_at) as oldest_ready_at from pgqueue.ready_lanes l group by l.queue
), running as materialized (
    select u.queue, count(*) as jobs from pgqueue.running u group by u.queue
), scheduled as materialized (
    select x.queue, count(*) as jobs from (select s.queue from pgqueue.scheduled s limit 100000) x group by x.queue
), blocked as materialized (
    select x.queue, count(*) as jobs from (select b.queue from pgqueue.blocked b limit 100000) x group by x.queue
), failed as materialized (
    select x.queue, count(*) as jobs
    from (select f.queue from pgqueue.finished f where f.status = 'failed' order by f.finished_at desc limit 10000) x
    group by x.queue
), rates as materialized (
    select r.queue,
        sum(r.jobs_now) filter (where r.outcome in ('succeeded', 'partial', 'failed', 'cancelled')) as finished,
        sum(r.jobs_now) filter (where r.outcome = 'failed') as failed,
        array_agg(r.wait_bucket) as wait_buckets, array_agg(r.run_bucket) as run_buckets, array_agg(r.jobs) as jobs
    from recent r
    group by r.queue
), elapsed as materialized (
    select (extract(epoch from statement_timestamp() - date_trunc('minute', statement_timestamp() - interval '4 minutes')) / 60)::numeric
        as minutes
), names as (
    select queue from pgqueue.queues
    union select queue from lanes
    union select queue from running
    union select queue from scheduled
    union select queue from blocked
    union select queue from failed
    union select queue from rates
)
select
    n.queue,
    (q.paused_at is not null)::boolean as paused,
    d.depth,
    (d.depth = 100000)::boolean as depth_capped,
    round(extract(epoch from greatest(statement_timestamp(), l.oldest_ready_at) - l.oldest_ready_at), 3)::numeric(14, 3) as oldest_ready_seconds,
    coalesce(u.jobs, 0)::bigint as running,
    coalesce(s.jobs, 0)::bigint as scheduled,
    coalesce(b.jobs, 0)::bigint as blocked,
    coalesce(f.jobs, 0)::bigint as failed,
    (   coalesce((select sum(x.jobs) from scheduled x), 0) = 100000
        or coalesce((select sum(x.jobs) from blocked x), 0) = 100000
        or coalesce((select sum(x.jobs) from failed x), 0) = 10000)::boolean as others_capped,
    round(coalesce(t.finished, 0) / e.minutes, 2)::numeric(14, 2) as finished_per_minute,
    round(coalesce(t.failed, 0) / e.minutes, 2)::numeric(14, 2) as failed_per_minute,
    round(pgqueue.stats_quantile(t.wait_buckets, t.jobs, 0.5)::numeric, 4)::numeric(14, 4) as wait_p50_seconds,
    round(pgqueue.stats_quantile(t.wait_buckets, t.jobs, 0.95)::numeric, 4)::numeric(14, 4) as wait_p95_seconds,
    round(pgqueue.stats_quantile(t.wait_buckets, t.jobs, 0.99)::numeric, 4)::numeric(14, 4) as wait_p99_seconds,
    round(pgqueue.stats_quantile(t.run_buckets, t.jobs, 0.5)::numeric, 4)::numeric(14, 4) as run_p50_seconds,
    round(pgqueue.stats_quantile(t.run_buckets, t.jobs, 0.95)::numeric, 4)::numeric(14, 4) as run_p95_seconds,
    round(pgqueue.stats_quantile(t.run_buckets, t.jobs, 0.99)::numeric, 4)::numeric(14, 4) as run_p99_seconds,
    q.paused_at,
    q.paused_reason,
    q.description
from names n
cross join elapsed e
left join pgqueue.queues q on q.queue = n.queue
left join lanes l on l.queue = n.queue
cross join lateral (select pgqueue.ready_depth(n.queue) as depth) d
left join running u on u.queue = n.queue
left join scheduled s on s.queue = n.queue
left join blocked b on b.queue = n.queue
left join failed f on f.queue = n.queue
left join rates t on t.queue = n.queue;

comment on view pgqueue.queue_stats is
    'One row per queue that has work, had work within the hour, or is known to pgqueue.queues. Counts stop at limits; rates are of the last 5 minutes, p50/p95/p99 of the last hour (estimated within histogram buckets).';
comment on column pgqueue.queue_stats.queue is 'The queue.';
comment on column pgqueue.queue_stats.paused is 'No job of it starts: pgqueue.resume_queue(queue).';
comment on column pgqueue.queue_stats.depth is 'Jobs that may run now; counted up to 100,000.';
comment on column pgqueue.queue_stats.depth_capped is 'There are 100,000 or more.';
comment on column pgqueue.queue_stats.oldest_ready_seconds is 'How long the first job of its longest-waiting priority has been ready; null when none is.';
comment on column pgqueue.queue_stats.running is 'Jobs that an attempt owns.';
comment on column pgqueue.queue_stats.scheduled is 'Jobs that wait for their time or their backoff.';
comment on column pgqueue.queue_stats.blocked is 'Jobs that wait for another job.';
comment on column pgqueue.queue_stats.failed is 'Failed jobs still kept: see pgqueue.failed_jobs.';
comment on column pgqueue.queue_stats.others_capped is 'More than 100,000 jobs are scheduled or blocked, or 10,000 failed, over all queues: those three are then lower bounds.';
comment on column pgqueue.queue_stats.finished_per_minute is 'Jobs finished per minute, whatever their status.';
comment on column pgqueue.queue_stats.failed_per_minute is 'Jobs that ended as failed per minute.';
comment on column pgqueue.queue_stats.wait_p50_seconds is 'Half of the attempts started within this time of being ready. Estimated within buckets of 1-2-5 steps.';
comment on column pgqueue.queue_stats.wait_p95_seconds is '95 of 100 attempts started within this time of being ready. Estimated within buckets of 1-2-5 steps.';
comment on column pgqueue.queue_stats.wait_p99_seconds is '99 of 100 attempts started within this time of being ready. Estimated within buckets of 1-2-5 steps.';
comment on column pgqueue.queue_stats.run_p50_seconds is 'Half of the attempts took at most this. Estimated within buckets of 1-2-5 steps.';
comment on column pgqueue.queue_stats.run_p95_seconds is '95 of 100 attempts took at most this. Estimated within buckets of 1-2-5 steps.';
comment on column pgqueue.queue_stats.run_p99_seconds is '99 of 100 attempts took at most this. Estimated within buckets of 1-2-5 steps.';
comment on column pgqueue.queue_stats.paused_at is 'Since when.';
comment on column pgqueue.queue_stats.paused_reason is 'Why, as given to pgqueue.pause_queue().';
comment on column pgqueue.queue_stats.description is 'From pgqueue.queues.';

create or replace view pgqueue.job_type_stats with (security_invoker = true) as
with recent as materialized (
    select s.job_type, s.outcome, sum(s.jobs)::bigint as jobs,
        coalesce(sum(s.jobs) filter (where s.starts_at >= date_trunc('minute', statement_timestamp() - interval '4 minutes')), 0)::bigint
            as jobs_now
    from pgqueue.stats_recent s
    where s.starts_at >= statement_timestamp() - interval '24 hours'
    group by s.job_type, s.outcome
), buckets as materialized (
    select h.job_type, array_agg(h.wait_bucket) as wait_buckets, array_agg(h.run_bucket) as run_buckets, array_agg(h.jobs) as jobs
    from (
        select s.job_type, s.wait_bucket, s.run_bucket, sum(s.jobs)::bigint as jobs
        from pgqueue.stats_recent s
        where s.starts_at >= statement_timestamp() - interval '1 hour'
        group by s.job_type, s.wait_bucket, s.run_bucket
    ) h
    group by h.job_type
), totals as materialized (
    select r.job_type,
        sum(r.jobs) filter (where r.outcome = 'succeeded') as succeeded,
        sum(r.jobs) filter (where r.outcome = 'partial') as partial,
        sum(r.jobs) filter (where r.outcome = 'failed') as failed,
        sum(r.jobs) filter (where r.outcome = 'cancelled') as cancelled,
        sum(r.jobs) filter (where r.outcome in ('retrying', 'lost', 'timed_out')) as retried,
        sum(r.jobs_now) filter (where r.outcome in ('succeeded', 'partial', 'failed', 'cancelled')) as finished_now,
        sum(r.jobs_now) filter (where r.outcome = 'failed') as failed_now
    from recent r
    group by r.job_type
), elapsed as materialized (
    select (extract(epoch from statement_timestamp() - date_trunc('minute', statement_timestamp() - interval '4 minutes')) / 60)::numeric
        as minutes
), names as (
    select job_type from pgqueue.job_types
    union select job_type from totals
)
select
    n.job_type,
    coalesce(t.enabled, true)::boolean as enabled,
    (t.paused_at is not null)::boolean as paused,
    (
        select count(*) from pgqueue.workers w
        where w.dead_at is null and w.stopped_at is null and w.heartbeat_at + w.lease > statement_timestamp()
            and (w.job_types is null or n.job_type = any (w.job_types))
    )::bigint as workers,
    coalesce(t.queue, 'default')::text as queue,
    coalesce(t.max_attempts, g.max_attempts)::integer as max_attempts,
    extract(epoch from t.timeout)::numeric(14, 3) as timeout_seconds,
    extract(epoch from coalesce(t.backoff_base, g.backoff_base))::numeric(14, 3) as backoff_base_seconds,
    coalesce(t.backoff_factor, g.backoff_factor)::double precision as backoff_factor,
    extract(epoch from coalesce(t.backoff_cap, g.backoff_cap))::numeric(14, 3) as backoff_cap_seconds,
    extract(epoch from coalesce(t.retention, g.retention))::numeric(14, 3) as retention_seconds,
    coalesce(c.succeeded, 0)::bigint as succeeded,
    coalesce(c.partial, 0)::bigint as partial,
    coalesce(c.failed, 0)::bigint as failed,
    coalesce(c.cancelled, 0)::bigint as cancelled,
    coalesce(c.retried, 0)::bigint as retried,
    round(coalesce(c.finished_now, 0) / e.minutes, 2)::numeric(14, 2) as finished_per_minute,
    round(coalesce(c.failed_now, 0) / e.minutes, 2)::numeric(14, 2) as failed_per_minute,
    round(pgqueue.stats_quantile(b.wait_buckets, b.jobs, 0.5)::numeric, 4)::numeric(14, 4) as wait_p50_seconds,
    round(pgqueue.stats_quantile(b.wait_buckets, b.jobs, 0.95)::numeric, 4)::numeric(14, 4) as wait_p95_seconds,
    round(pgqueue.stats_quantile(b.wait_buckets, b.jobs, 0.99)::numeric, 4)::numeric(14, 4) as wait_p99_seconds,
    round(pgqueue.stats_quantile(b.run_buckets, b.jobs, 0.5)::numeric, 4)::numeric(14, 4) as run_p50_seconds,
    round(pgqueue.stats_quantile(b.run_buckets, b.jobs, 0.95)::numeric, 4)::numeric(14, 4) as run_p95_seconds,
    round(pgqueue.stats_quantile(b.run_buckets, b.jobs, 0.99)::numeric, 4)::numeric(14, 4) as run_p99_seconds,
    t.paused_at,
    t.paused_reason,
    coalesce(t.operator_managed, false)::boolean as operator_managed,
    t.description
from names n
-- LIMIT tells the planner what it cannot know of a table without statistics: 770 rows made it compile the query for a second.
cross join (select * from pgqueue.settings limit 1) g
cross join elapsed e
left join pgqueue.job_types t on t.job_type = n.job_type
left join totals c on c.job_type = n.job_type
left join buckets b on b.job_type = n.job_type;

comment on view pgqueue.job_type_stats is
    'One row per job type that is registered or finished something within 24 hours: the settings in force, outcomes of the last 24 hours, rates of the last 5 minutes, p50/p95/p99 of the last hour. Change settings with pgqueue.set_job_type().';
comment on column pgqueue.job_type_stats.job_type is 'The type.';
comment on column pgqueue.job_type_stats.enabled is 'False: INSERTs are refused and waiting jobs do not start.';
comment on column pgqueue.job_type_stats.paused is 'True: jobs are taken in but do not start: pgqueue.resume_job_type(job_type).';
comment on column pgqueue.job_type_stats.workers is 'Live workers that handle it.';
comment on column pgqueue.job_type_stats.queue is 'Where its jobs go when their row names no queue.';
comment on column pgqueue.job_type_stats.max_attempts is 'Attempts allowed when the job''s row says nothing.';
comment on column pgqueue.job_type_stats.timeout_seconds is 'Time limit of an attempt when the job''s row says nothing; null = none.';
comment on column pgqueue.job_type_stats.backoff_base_seconds is 'Upper bound of the wait after the first failed attempt.';
comment on column pgqueue.job_type_stats.backoff_factor is 'What each further attempt multiplies it by.';
comment on column pgqueue.job_type_stats.backoff_cap_seconds is 'What it never exceeds.';
comment on column pgqueue.job_type_stats.retention_seconds is 'How long finished jobs are kept.';
comment on column pgqueue.job_type_stats.succeeded is 'Jobs of the last 24 hours.';
comment on column pgqueue.job_type_stats.partial is 'Jobs of the last 24 hours.';
comment on column pgqueue.job_type_stats.failed is 'Jobs of the last 24 hours.';
comment on column pgqueue.job_type_stats.cancelled is 'Jobs of the last 24 hours.';
comment on column pgqueue.job_type_stats.retried is 'Attempts of the last 24 hours that failed, lost their worker or ran out of time, and were to be repeated.';
comment on column pgqueue.job_type_stats.finished_per_minute is 'Jobs finished per minute, whatever their status.';
comment on column pgqueue.job_type_stats.failed_per_minute is 'Jobs that ended as failed per minute.';
comment on column pgqueue.job_type_stats.wait_p50_seconds is 'Half of the attempts started within this time of being ready. Estimated within buckets of 1-2-5 steps.';
comment on column pgqueue.job_type_stats.wait_p95_seconds is '95 of 100 attempts started within this time of being ready. Estimated within buckets of 1-2-5 steps.';
comment on column pgqueue.job_type_stats.wait_p99_seconds is '99 of 100 attempts started within this time of being ready. Estimated within buckets of 1-2-5 steps.';
comment on column pgqueue.job_type_stats.run_p50_seconds is 'Half of the attempts took at most this. Estimated within buckets of 1-2-5 steps.';
comment on column pgqueue.job_type_stats.run_p95_seconds is '95 of 100 attempts took at most this. Estimated within buckets of 1-2-5 steps.';
comment on column pgqueue.job_type_stats.run_p99_seconds is '99 of 100 attempts took at most this. Estimated within buckets of 1-2-5 steps.';
comment on column pgqueue.job_type_stats.paused_at is 'Since when.';
comment on column pgqueue.job_type_stats.paused_reason is 'Why, as given to pgqueue.pause_job_type().';
comment on column pgqueue.job_type_stats.operator_managed is 'True: what workers declare about this type is ignored.';
comment on column pgqueue.job_type_stats.description is 'What it does.';
