-- One job: where it stands, and its history. Both views cost a handful of index probes per job at any size.
--
-- Views are replaced in place, so a column can be added at the end but not renamed or dropped: that takes a migration that
-- drops the view. No view shows payload or headers: a role that may see how a job fares need not see what is in it.
-- Scalar subqueries where a join would do: they run only when their column is selected, and six relations stay
-- below join_collapse_limit (8) when somebody joins the view to tables of his own.

-- Plain left joins on primary keys: the planner drops those whose columns are not selected, and a listing
-- with ORDER BY id DESC LIMIT 50 walks jobs_pkey backwards. Proved by tests/sql/test_views_at_size.py.
create or replace view pgqueue.job_status with (security_invoker = true) as
select
    j.id,
    j.job_type,
    coalesce(r.queue, u.queue, f.queue, s.queue, b.queue)::text as queue,
    case
        when f.job_id is not null then f.status
        when u.job_id is not null then 'running'
        when r.job_id is not null then 'queued'
        when s.reason = 'retry' then 'retrying'
        when s.job_id is not null then 'scheduled'
        when b.job_id is not null then 'blocked'
    end::text as status,
    j.priority,
    case
        when f.status in ('succeeded', 'partial') then 100
        else coalesce(u.progress, f.progress, 0)
    end::real as progress,
    coalesce(u.progress_message, f.progress_message)::text as progress_message,
    coalesce(u.attempt, f.attempt, r.attempts, s.attempts, b.attempts)::integer as attempt,
    coalesce(j.max_attempts,
        (select t.max_attempts from pgqueue.job_types t where t.job_type = j.job_type),
        (select g.max_attempts from pgqueue.settings g where g.only_row))::integer as max_attempts,
    f.result,
    f.result_url,
    coalesce(f.errors, '[]')::jsonb as errors,
    f.metrics,
    coalesce(s.due_at, j.run_at, j.created_at)::timestamptz as run_at,
    j.expires_at,
    j.created_at,
    j.created_by,
    coalesce(r.ready_at, u.ready_at, f.ready_at, b.ready_at)::timestamptz as ready_at,
    coalesce(u.started_at, f.started_at)::timestamptz as started_at,
    f.finished_at,
    round(extract(epoch from greatest(
            coalesce(u.started_at, f.started_at, case when r.job_id is not null then statement_timestamp() end),
            coalesce(r.ready_at, u.ready_at, f.ready_at))
        - coalesce(r.ready_at, u.ready_at, f.ready_at)), 3)::numeric(14, 3) as wait_seconds,
    round(extract(epoch from greatest(coalesce(f.finished_at, statement_timestamp()), u.started_at, f.started_at)
        - coalesce(u.started_at, f.started_at)), 3)::numeric(14, 3) as run_seconds,
    coalesce(u.worker_id, f.worker_id)::bigint as worker_id,
    (select w.name from pgqueue.workers w where w.id = coalesce(u.worker_id, f.worker_id))::text as worker,
    coalesce(f.reason, u.cancel_reason, s.reason, b.reason)::text as reason,
    j.idempotency_key,
    coalesce(j.unique_key, f.unique_key, b.unique_key)::text as unique_key,
    j.tenant_id,
    u.cancel_requested_at,
    coalesce((
        select jsonb_agg(jsonb_build_object('entity_type', c.entity_type, 'entity_id', c.entity_id)
            order by c.entity_type, c.entity_id)
        from pgqueue.job_results c
        where c.job_id = j.id), '[]')::jsonb as created,
    coalesce((
        select jsonb_agg(jsonb_build_object('attempt', a.attempt, 'outcome', a.outcome, 'worker_id', a.worker_id,
            'started_at', a.started_at, 'ended_at', a.ended_at, 'error', a.error) order by a.ended_at, a.token)
        from pgqueue.attempts a
        where a.job_id = j.id), '[]')::jsonb as attempts,
    j.batch_id,
    j.deadline_at
from pgqueue.jobs j
left join pgqueue.ready r on r.job_id = j.id
left join pgqueue.running u on u.job_id = j.id
left join pgqueue.finished f on f.job_id = j.id
left join pgqueue.scheduled s on s.job_id = j.id
left join pgqueue.blocked b on b.job_id = j.id;

comment on view pgqueue.job_status is
    'Every job with its status. Cheap by id and as "order by id desc limit n" (ids grow with time). By status use running_jobs and failed_jobs: a filter on status reads every job. The payload is in pgqueue.jobs.';
comment on column pgqueue.job_status.id is 'The id that the INSERT returned.';
comment on column pgqueue.job_status.job_type is 'Names the handler.';
comment on column pgqueue.job_status.queue is 'The queue in force: the job''s own, else its type''s, else default.';
comment on column pgqueue.job_status.status is
    'scheduled, queued, blocked, running, retrying, succeeded, partial (finished with some errors), failed or cancelled.';
comment on column pgqueue.job_status.priority is '0 high, 1 normal, 2 low, 3 bulk.';
comment on column pgqueue.job_status.progress is 'Percent, 0 to 100, as reported by the handler; 100 once succeeded or partial.';
comment on column pgqueue.job_status.progress_message is 'What the handler said last.';
comment on column pgqueue.job_status.attempt is 'Number of the running or last attempt; 0 before the first. Snoozes and releases do not count.';
comment on column pgqueue.job_status.max_attempts is 'Attempts allowed: the job''s own, else its type''s, else the setting.';
comment on column pgqueue.job_status.result is 'What the handler returned.';
comment on column pgqueue.job_status.result_url is 'Where a result that is too large for a row is kept.';
comment on column pgqueue.job_status.errors is 'Array of {code, message, item, retryable}; of a failed job the last one ended it. Empty while unfinished: see attempts.';
comment on column pgqueue.job_status.metrics is 'items_processed, items_created, items_updated, items_skipped and the handler''s own.';
comment on column pgqueue.job_status.run_at is 'When it is or was due; for retrying, the time of the next attempt.';
comment on column pgqueue.job_status.expires_at is 'It does not start after this.';
comment on column pgqueue.job_status.created_at is 'When it was inserted.';
comment on column pgqueue.job_status.created_by is 'The login that inserted it.';
comment on column pgqueue.job_status.ready_at is 'Since when it may run, or might have.';
comment on column pgqueue.job_status.started_at is 'Start of the running or last attempt.';
comment on column pgqueue.job_status.finished_at is 'When it finished; null while unfinished.';
comment on column pgqueue.job_status.wait_seconds is 'From ready to start; of a queued job, until now.';
comment on column pgqueue.job_status.run_seconds is 'How long the last attempt took; of a running job, until now.';
comment on column pgqueue.job_status.worker_id is 'The worker of the running or last attempt.';
comment on column pgqueue.job_status.worker is 'Its name, while pgqueue.workers remembers it.';
comment on column pgqueue.job_status.reason is 'Why it was cancelled or should be; of a waiting job run_at, retry, snooze, follow_up, dependencies, limit, signal or hook.';
comment on column pgqueue.job_status.idempotency_key is 'A second insert with this key is the same job, for as long as the row is kept.';
comment on column pgqueue.job_status.unique_key is 'At most one unfinished job has this key; a finished one shows the key it had.';
comment on column pgqueue.job_status.tenant_id is 'Whose job it is; null without tenants.';
comment on column pgqueue.job_status.cancel_requested_at is 'Since when a running job has been asked to stop.';
comment on column pgqueue.job_status.created is 'Array of {entity_type, entity_id}: what the job created.';
comment on column pgqueue.job_status.attempts is
    'Earlier attempts, oldest first: array of {attempt, outcome, worker_id, started_at, ended_at, error}.';
comment on column pgqueue.job_status.batch_id is 'The batch that it belongs to.';
comment on column pgqueue.job_status.deadline_at is 'It finishes by this time, or fails.';

-- Single-table branches, so that a job_id given by a constant or by a join reaches every branch's index.
-- An attempts row 'redriven' is a finish that a retry undid: it shows as that finish.
create or replace view pgqueue.job_timeline with (security_invoker = true) as
select j.id as job_id, j.created_at as at, 'created'::text as event, null::integer as attempt, null::text as worker,
    concat('by ', j.created_by)::text as detail
from pgqueue.jobs j
union all
select a.job_id, a.started_at, 'started'::text, a.attempt,
    (select w.name from pgqueue.workers w where w.id = a.worker_id)::text, null::text
from pgqueue.attempts a
where a.started_at is not null
union all
select a.job_id, a.ended_at, case when a.outcome = 'redriven' then coalesce(a.error ->> 'status', 'finished') else a.outcome end::text,
    a.attempt, (select w.name from pgqueue.workers w where w.id = a.worker_id)::text,
    nullif(concat_ws(': ', a.error ->> 'code', a.error ->> 'message', case when a.outcome = 'redriven' then 'retried later' end), '')::text
from pgqueue.attempts a
union all
select r.job_id, r.ready_at, 'queued'::text, r.attempts, null::text, concat('in queue ', r.queue)::text
from pgqueue.ready r
union all
select s.job_id, s.due_at, 'due'::text, s.attempts, null::text, concat('waits for this time: ', s.reason)::text
from pgqueue.scheduled s
union all
select b.job_id, b.blocked_at, 'blocked'::text, b.attempts, null::text, case b.reason when 'follow_up' then concat('behind job ', b.waits_for) when 'limit' then 'by a limit or an ordering key' when 'signal' then concat('until signal ', b.signal) when 'hook' then 'held back by a hook of its job type' else 'until the jobs it depends on have finished' end::text
from pgqueue.blocked b
union all
select u.job_id, u.started_at, 'started'::text, u.attempt,
    (select w.name from pgqueue.workers w where w.id = u.worker_id)::text, null::text
from pgqueue.running u
union all
select u.job_id, u.progress_at, 'progress'::text, u.attempt,
    (select w.name from pgqueue.workers w where w.id = u.worker_id)::text, concat_ws(' % ', u.progress, u.progress_message)::text
from pgqueue.running u
where u.progress_at is not null
union all
select u.job_id, u.cancel_requested_at, 'cancel requested'::text, u.attempt, null::text, u.cancel_reason
from pgqueue.running u
where u.cancel_requested_at is not null
union all
select f.job_id, f.started_at, 'started'::text, f.attempt,
    (select w.name from pgqueue.workers w where w.id = f.worker_id)::text, null::text
from pgqueue.finished f
where f.started_at is not null
union all
select f.job_id, f.finished_at, f.status, f.attempt,
    (select w.name from pgqueue.workers w where w.id = f.worker_id)::text,
    coalesce(f.reason, nullif(concat_ws(': ', f.errors -> -1 ->> 'code', f.errors -> -1 ->> 'message'), ''))::text
from pgqueue.finished f;

comment on view pgqueue.job_timeline is 'What happened to one job: select * from pgqueue.job_timeline where job_id = ... order by at. Cheap by job_id only.';
comment on column pgqueue.job_timeline.job_id is 'The job.';
comment on column pgqueue.job_timeline.at is 'When it happened, or will: due is in the future.';
comment on column pgqueue.job_timeline.event is
    'created, queued, due, blocked, started, progress, cancel requested; how an attempt ended (retrying, lost, timed_out, snoozed, paused, released) or the job (succeeded, partial, failed, cancelled).';
comment on column pgqueue.job_timeline.attempt is 'The attempt that it is about.';
comment on column pgqueue.job_timeline.worker is 'The worker that ran it, while pgqueue.workers remembers it.';
comment on column pgqueue.job_timeline.detail is 'Error, reason or message.';
