-- Batches: how far they are. The numbers are those merged into batches plus what the log has since: a few hundred rows at any size.

create or replace view pgqueue.batch_status with (security_invoker = true) as
with now_running as materialized (
    select j.batch_id, count(*) as jobs
    from pgqueue.running r
    cross join lateral (select w.batch_id from pgqueue.jobs w where w.id = r.job_id limit 1) j
    where j.batch_id is not null
    group by j.batch_id
)
select
    b.id,
    b.name,
    case
        when b.closed_at is null then 'open'
        when n.total > n.done then 'closed'
        when n.failed + n.cancelled > 0 then 'failed'
        else 'succeeded'
    end::text as status,
    n.total,
    greatest(n.total - n.done - coalesce(r.jobs, 0), 0)::bigint as waiting,
    coalesce(r.jobs, 0)::bigint as running,
    n.succeeded,
    n.failed,
    n.cancelled,
    case when n.total > 0 then round(100.0 * n.done / n.total, 1) when b.closed_at is not null then 100 else 0 end::numeric(5, 1) as percent,
    b.success_job_id,
    b.failure_job_id,
    b.complete_job_id,
    b.refused,
    b.description,
    b.tenant_id,
    b.created_at,
    b.created_by,
    b.closed_at,
    b.finished_at
from pgqueue.batches b
cross join lateral (
    select (b.total + coalesce(sum(l.added), 0))::bigint as total,
        (b.succeeded + coalesce(sum(l.succeeded), 0))::bigint as succeeded,
        (b.failed + coalesce(sum(l.failed), 0))::bigint as failed,
        (b.cancelled + coalesce(sum(l.cancelled), 0))::bigint as cancelled,
        (b.succeeded + b.failed + b.cancelled + coalesce(sum(l.succeeded + l.failed + l.cancelled), 0))::bigint as done
    from pgqueue.batch_log l where l.batch_id = b.id
) n
left join now_running r on r.batch_id = b.id;

comment on view pgqueue.batch_status is 'Batches of jobs. Cheap by id and as "order by id desc limit n", however many jobs they have: no job is counted.';
comment on column pgqueue.batch_status.id is 'What jobs name as batch_id.';
comment on column pgqueue.batch_status.name is 'As given to pgqueue.open_batch().';
comment on column pgqueue.batch_status.status is 'open: takes jobs; closed: its jobs finish; then succeeded, or failed if one failed or was cancelled.';
comment on column pgqueue.batch_status.total is 'Jobs.';
comment on column pgqueue.batch_status.waiting is 'Those that are neither running nor finished.';
comment on column pgqueue.batch_status.running is 'Those that an attempt owns.';
comment on column pgqueue.batch_status.succeeded is 'Those that succeeded; partial counts.';
comment on column pgqueue.batch_status.failed is 'Those that failed for good.';
comment on column pgqueue.batch_status.cancelled is 'Those that were cancelled or expired.';
comment on column pgqueue.batch_status.percent is 'Finished of total.';
comment on column pgqueue.batch_status.success_job_id is 'The job that on_success made.';
comment on column pgqueue.batch_status.failure_job_id is 'The job that on_failure made.';
comment on column pgqueue.batch_status.complete_job_id is 'The job that on_complete made.';
comment on column pgqueue.batch_status.refused is 'Which of the three could not be enqueued, and why.';
comment on column pgqueue.batch_status.description is 'As given to pgqueue.open_batch().';
comment on column pgqueue.batch_status.tenant_id is 'Whose it is; null without tenants.';
comment on column pgqueue.batch_status.created_at is 'When it was opened.';
comment on column pgqueue.batch_status.created_by is 'The login that opened it.';
comment on column pgqueue.batch_status.closed_at is 'Since when it takes no jobs from outside.';
comment on column pgqueue.batch_status.finished_at is 'When its last job was seen to be finished.';
