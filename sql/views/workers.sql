-- Workers: who is there, and when they were last heard of.

create or replace view pgqueue.worker_status with (security_invoker = true) as
with running as materialized (
    select u.worker_id, count(*) as jobs from pgqueue.running u group by u.worker_id
), recent as materialized (
    select s.worker_id, sum(s.jobs) as jobs, sum(s.jobs) filter (where s.outcome = 'failed') as failed
    from pgqueue.stats_recent s
    where s.starts_at >= date_trunc('minute', statement_timestamp() - interval '4 minutes')
        and s.outcome in ('succeeded', 'partial', 'failed', 'cancelled')
    group by s.worker_id
)
select
    w.id,
    w.name,
    case
        when w.stopped_at is not null then 'stopped'
        when w.dead_at is not null or w.heartbeat_at + w.lease <= statement_timestamp() then 'dead'
        when w.draining_at is not null then 'draining'
        else 'alive'
    end::text as status,
    w.queues,
    w.job_types,
    coalesce(r.jobs, 0)::bigint as running,
    coalesce(s.jobs, 0)::bigint as finished_5_minutes,
    coalesce(s.failed, 0)::bigint as failed_5_minutes,
    w.heartbeat_at,
    round(extract(epoch from greatest(statement_timestamp(), w.heartbeat_at) - w.heartbeat_at), 3)::numeric(14, 3) as heartbeat_seconds,
    case when w.stopped_at is null and w.dead_at is null
        then round(extract(epoch from w.heartbeat_at + w.lease - statement_timestamp()), 3) end::numeric(14, 3) as lease_left_seconds,
    w.started_at,
    w.draining_at,
    w.stopped_at,
    w.dead_at,
    w.rescued_at,
    w.meta
from pgqueue.workers w
left join running r on r.worker_id = w.id
left join recent s on s.worker_id = w.id;

comment on view pgqueue.worker_status is 'The workers, those that stopped or died within a day included. pgqueue.drain_worker(id) asks one to finish and stop.';
comment on column pgqueue.worker_status.id is 'The worker''s id.';
comment on column pgqueue.worker_status.name is 'The name that it gave itself.';
comment on column pgqueue.worker_status.status is 'alive; draining = finishes what it runs; stopped = said goodbye; dead = its lease ended.';
comment on column pgqueue.worker_status.queues is 'The queues that it claims from.';
comment on column pgqueue.worker_status.job_types is 'The types that it claims; null = any.';
comment on column pgqueue.worker_status.running is 'Jobs that it owns.';
comment on column pgqueue.worker_status.finished_5_minutes is 'Jobs that it finished within the last five minute buckets, whatever their status.';
comment on column pgqueue.worker_status.failed_5_minutes is 'Those of them that ended as failed.';
comment on column pgqueue.worker_status.heartbeat_at is 'The last heartbeat.';
comment on column pgqueue.worker_status.heartbeat_seconds is 'Since then.';
comment on column pgqueue.worker_status.lease_left_seconds is 'Until it counts as dead unless it is heard of; negative = overdue. Null once stopped or declared dead.';
comment on column pgqueue.worker_status.started_at is 'When it registered.';
comment on column pgqueue.worker_status.draining_at is 'Since when it is to drain.';
comment on column pgqueue.worker_status.stopped_at is 'When it said goodbye.';
comment on column pgqueue.worker_status.dead_at is 'When it was declared dead.';
comment on column pgqueue.worker_status.rescued_at is 'When the last job that it had left was taken back.';
comment on column pgqueue.worker_status.meta is 'What it says about itself: version, host, process.';
