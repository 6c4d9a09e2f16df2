-- Jobs that wait for other jobs.

insert into pgqueue.migrations (version, name) values (3, 'dependencies');

alter table pgqueue.jobs
    add column depends_on uuid[],
    add column on_parent_failure text;
-- For drawings: the children of a job. Jobs without parents are not in it.
create index jobs_depends_on_idx on pgqueue.jobs using gin (depends_on) where depends_on is not null;

alter table pgqueue.blocked
    drop constraint blocked_reason_check,
    add constraint blocked_reason_check check (reason in ('follow_up', 'dependencies'));

-- What a blocked job still waits for: one row per parent that has not finished.
create table pgqueue.dependencies (
    parent_id uuid not null,
    job_id uuid not null,
    constraint dependencies_pkey primary key (parent_id, job_id)
);
create index dependencies_job_id_idx on pgqueue.dependencies (job_id);
