-- Schedules: when they tick next, and what became of the last ticks.

create or replace view pgqueue.schedule_history with (security_invoker = true) as
select
    r.schedule,
    r.tick_at,
    r.outcome,
    r.job_id,
    s.status as job_status,
    s.started_at,
    s.finished_at,
    r.missed_until,
    r.error,
    r.created_at
from pgqueue.schedule_runs r
left join lateral (
    select j.status, j.started_at, j.finished_at from pgqueue.job_status j where j.id = r.job_id
) s on true;

comment on view pgqueue.schedule_history is 'What became of each tick of each schedule, and of its job.';
comment on column pgqueue.schedule_history.schedule is 'The schedule''s name.';
comment on column pgqueue.schedule_history.tick_at is 'The tick; of a run by hand the time of the call.';
comment on column pgqueue.schedule_history.outcome is 'enqueued; by_hand; skipped = the run before had not finished; missed = too late; refused = the insert failed, see error.';
comment on column pgqueue.schedule_history.job_id is 'The job that it made.';
comment on column pgqueue.schedule_history.job_status is 'Where that stands; null = there is none, or retention has removed it.';
comment on column pgqueue.schedule_history.started_at is 'When it started last.';
comment on column pgqueue.schedule_history.finished_at is 'When it finished.';
comment on column pgqueue.schedule_history.missed_until is 'The row stands for all ticks from tick_at to before this.';
comment on column pgqueue.schedule_history.error is 'Why it was refused.';
comment on column pgqueue.schedule_history.created_at is 'When the tick was handled.';

create or replace view pgqueue.schedule_status with (security_invoker = true) as
select
    s.name,
    case when not s.enabled then 'disabled' when s.paused_at is not null then 'paused' when s.next_tick_at is null then 'over' else 'active' end::text as status,
    s.cron,
    s.time_zone,
    s.job_type,
    case when s.enabled and s.paused_at is null then s.next_tick_at end as next_tick_at,
    l.tick_at as last_tick_at,
    l.outcome as last_outcome,
    l.job_id as last_job_id,
    l.job_status as last_job_status,
    s.overlap,
    s.catch_up,
    s.paused_at,
    s.paused_reason,
    s.operator_managed,
    s.description
from pgqueue.schedules s
left join lateral (
    select h.tick_at, h.outcome, h.job_id, h.job_status
    from pgqueue.schedule_history h where h.schedule = s.name
    order by h.tick_at desc limit 1
) l on true;

comment on view pgqueue.schedule_status is 'The schedules: change them with pgqueue.set_schedule(), pause_schedule(), run_schedule_now().';
comment on column pgqueue.schedule_status.name is 'The schedule.';
comment on column pgqueue.schedule_status.status is 'active; paused; disabled; over = it never ticks again.';
comment on column pgqueue.schedule_status.cron is 'When it ticks.';
comment on column pgqueue.schedule_status.time_zone is 'In whose local time.';
comment on column pgqueue.schedule_status.job_type is 'What it enqueues.';
comment on column pgqueue.schedule_status.next_tick_at is 'The next tick; in the past = no worker has come yet.';
comment on column pgqueue.schedule_status.last_tick_at is 'The last tick that was handled.';
comment on column pgqueue.schedule_status.last_outcome is 'What became of it, see schedule_history.';
comment on column pgqueue.schedule_status.last_job_id is 'Its job.';
comment on column pgqueue.schedule_status.last_job_status is 'Where that stands.';
comment on column pgqueue.schedule_status.overlap is 'What happens while the run before has not finished: allow, skip or queue.';
comment on column pgqueue.schedule_status.catch_up is 'What happens to ticks that were missed: skip, one or all.';
comment on column pgqueue.schedule_status.paused_at is 'Since when it is paused.';
comment on column pgqueue.schedule_status.paused_reason is 'Why.';
comment on column pgqueue.schedule_status.operator_managed is 'True: what workers declare about it is ignored.';
comment on column pgqueue.schedule_status.description is 'What it is for.';
