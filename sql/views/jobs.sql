-- Jobs that somebody should look at: those that run, those that failed, those that nobody will ever take.

create or replace view pgqueue.running_jobs with (security_invoker = true) as
select
    u.job_id as id,
    u.job_type,
    u.queue,
    u.priority,
    u.worker_id,
    w.name as worker,
    u.attempt::integer as attempt,
    u.started_at,
    round(extract(epoch from greatest(statement_timestamp(), u.started_at) - u.started_at), 3)::numeric(14, 3) as running_seconds,
    u.progress,
    u.progress_message,
    u.progress_at,
    u.deadline_at,
    u.cancel_requested_at,
    u.cancel_reason,
    round(extract(epoch from greatest(statement_timestamp(), w.heartbeat_at) - w.heartbeat_at), 3)::numeric(14, 3) as heartbeat_seconds,
    (w.id is not null and w.dead_at is null and w.stopped_at is null
        and w.heartbeat_at + w.lease > statement_timestamp())::boolean as worker_alive
from pgqueue.running u
left join pgqueue.workers w on w.id = u.worker_id;

comment on view pgqueue.running_jobs is 'The jobs that an attempt owns, with the worker that runs it. pgqueue.cancel(id, reason) asks one to stop.';
comment on column pgqueue.running_jobs.id is 'The job.';
comment on column pgqueue.running_jobs.job_type is 'Names the handler.';
comment on column pgqueue.running_jobs.queue is 'Where it was claimed from.';
comment on column pgqueue.running_jobs.priority is '0 high, 1 normal, 2 low, 3 bulk.';
comment on column pgqueue.running_jobs.worker_id is 'See pgqueue.worker_status.';
comment on column pgqueue.running_jobs.worker is 'Name of the worker.';
comment on column pgqueue.running_jobs.attempt is 'Number of this attempt, from 1.';
comment on column pgqueue.running_jobs.started_at is 'When it was claimed.';
comment on column pgqueue.running_jobs.running_seconds is 'Since then.';
comment on column pgqueue.running_jobs.progress is 'Percent, 0 to 100; null = not reported.';
comment on column pgqueue.running_jobs.progress_message is 'What the handler said last.';
comment on column pgqueue.running_jobs.progress_at is 'When it said so.';
comment on column pgqueue.running_jobs.deadline_at is 'Its time limit; the job is taken back when timeout_grace has passed on top. Null = none.';
comment on column pgqueue.running_jobs.cancel_requested_at is 'Since when it has been asked to stop.';
comment on column pgqueue.running_jobs.cancel_reason is 'Why, as given to pgqueue.cancel().';
comment on column pgqueue.running_jobs.heartbeat_seconds is 'Since the last heartbeat of its worker.';
comment on column pgqueue.running_jobs.worker_alive is 'False: the worker''s lease ended, and the job goes back at the next pgqueue.rescue().';

create or replace view pgqueue.failed_jobs with (security_invoker = true) as
select
    f.job_id as id,
    f.job_type,
    f.queue,
    f.finished_at as failed_at,
    (f.errors -> -1 ->> 'code')::text as error_code,
    (f.errors -> -1 ->> 'message')::text as error_message,
    f.attempt::integer as attempts,
    jsonb_array_length(coalesce(f.errors, '[]'))::integer as error_count,
    coalesce(f.errors, '[]')::jsonb as errors,
    f.metrics,
    f.started_at,
    j.created_at,
    f.worker_id,
    (select w.name from pgqueue.workers w where w.id = f.worker_id)::text as worker,
    f.unique_key,
    j.tenant_id
from pgqueue.finished f
join pgqueue.jobs j on j.id = f.job_id
where f.status = 'failed';

comment on view pgqueue.failed_jobs is
    'The dead letters: jobs that used up their attempts or failed for good. Again: select pgqueue.retry(id); many: select pgqueue.redrive(job_type, queue, since, limit). Order by failed_at: it is indexed.';
comment on column pgqueue.failed_jobs.id is 'The job.';
comment on column pgqueue.failed_jobs.job_type is 'Names the handler.';
comment on column pgqueue.failed_jobs.queue is 'The queue that it ran in.';
comment on column pgqueue.failed_jobs.failed_at is 'When its last attempt failed.';
comment on column pgqueue.failed_jobs.error_code is 'Code of the error that ended it; worker_lost and deadline_passed are pgqueue''s own.';
comment on column pgqueue.failed_jobs.error_message is 'Its message.';
comment on column pgqueue.failed_jobs.attempts is 'Attempts used.';
comment on column pgqueue.failed_jobs.error_count is 'Number of errors.';
comment on column pgqueue.failed_jobs.errors is 'All errors of the last attempt; the last one ended it. Those of earlier attempts: pgqueue.job_status.attempts.';
comment on column pgqueue.failed_jobs.metrics is 'Metrics of the last attempt.';
comment on column pgqueue.failed_jobs.started_at is 'Start of the last attempt.';
comment on column pgqueue.failed_jobs.created_at is 'When it was inserted.';
comment on column pgqueue.failed_jobs.worker_id is 'The worker of the last attempt.';
comment on column pgqueue.failed_jobs.worker is 'Its name, while pgqueue.workers remembers it.';
comment on column pgqueue.failed_jobs.unique_key is 'The unique key that it held; a retry needs it to be free.';
comment on column pgqueue.failed_jobs.tenant_id is 'Whose job it is; null without tenants.';

-- The types among the first 2,000 ready jobs of a lane. capped = there may be more behind those.
create or replace function pgqueue.ready_types(p_queue text, p_priority smallint)
returns table (job_type text, waiting bigint, oldest_at timestamptz, capped boolean)
language sql
stable
rows 5
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
    select y.job_type, count(*), min(y.ready_at), sum(count(*)) over () = 2000
    from (
        select r.job_type, r.ready_at from pgqueue.ready r
        where r.queue = p_queue and r.priority = p_priority
        order by r.pos
        limit 2000
    ) y
    group by y.job_type;
$$;
revoke all on function pgqueue.ready_types(text, smallint) from public;

-- Looks at the first 2,000 jobs of each queue and priority and at the 2,000 that are due first: no index has job types, and
-- none is needed. What nobody takes stays in front while all else is claimed past it, so it is among the first as
-- soon as the backlog that was there before it is gone. Counts are of what was looked at.
create or replace view pgqueue.unhandled with (security_invoker = true) as
with looked_at as materialized (
    select l.queue, r.job_type, r.waiting, r.oldest_at, r.capped
    from pgqueue.ready_lanes l
    cross join lateral pgqueue.ready_types(l.queue, l.priority) r
    union all
    select s.queue, s.job_type, count(*), min(s.due_at), sum(count(*)) over () = 2000
    from (select y.queue, y.job_type, y.due_at from pgqueue.scheduled y order by y.due_at limit 2000) s
    group by s.queue, s.job_type
), waiting as (
    select a.queue, a.job_type, sum(a.waiting) as waiting, min(a.oldest_at) as oldest_at, bool_or(a.capped) as capped
    from looked_at a
    group by a.queue, a.job_type
), alive as materialized (
    select w.queues, w.job_types
    from pgqueue.workers w
    where w.dead_at is null and w.stopped_at is null and w.draining_at is null
        and w.heartbeat_at + w.lease > statement_timestamp()
)
select
    a.queue,
    a.job_type,
    a.waiting::bigint as waiting,
    a.capped::boolean as waiting_capped,
    a.oldest_at,
    exists (select from pgqueue.job_types t where t.job_type = a.job_type)::boolean as registered,
    (select count(*) from alive w where a.queue = any (w.queues))::bigint as workers_of_queue,
    (select count(*) from alive w where w.job_types is null or a.job_type = any (w.job_types))::bigint as workers_of_type
from waiting a
where not exists (
    select from alive w where a.queue = any (w.queues) and (w.job_types is null or a.job_type = any (w.job_types)));

comment on view pgqueue.unhandled is
    'Waiting jobs that no live worker would take: none listens to their queue and handles their type. Looks at the first 2,000 jobs of each queue and priority and the 2,000 that are due first.';
comment on column pgqueue.unhandled.queue is 'The queue.';
comment on column pgqueue.unhandled.job_type is 'The type.';
comment on column pgqueue.unhandled.waiting is 'Jobs that wait, ready and scheduled, among those looked at.';
comment on column pgqueue.unhandled.waiting_capped is 'There can be more: not all waiting jobs were looked at.';
comment on column pgqueue.unhandled.oldest_at is 'When the first of them was or is due.';
comment on column pgqueue.unhandled.registered is 'False: no worker ever registered this type; perhaps it is misspelt.';
comment on column pgqueue.unhandled.workers_of_queue is 'Live workers that listen to this queue but do not handle the type.';
comment on column pgqueue.unhandled.workers_of_type is 'Live workers that handle this type but do not listen to the queue.';
