-- Functions of an application that run in the queue's own transactions: when jobs are inserted, finish, or run again.

insert into pgqueue.migrations (version, name) values (7, 'hooks');

alter table pgqueue.blocked
    drop constraint blocked_reason_check,
    add constraint blocked_reason_check check (reason in ('follow_up', 'dependencies', 'limit', 'signal', 'hook'));

-- By name and not regprocedure: pg_upgrade refuses columns of that type, and a dump restores names.
create table pgqueue.hooks (
    job_type text not null,
    function_schema name not null,
    function_name name not null,
    events text[] not null,
    constraint hooks_pkey primary key (job_type, function_schema, function_name),
    constraint hooks_job_type_check check (length(job_type) between 1 and 100),
    constraint hooks_events_check check (events <> '{}' and events <@ '{insert,finish,retry,maintain}')
);

-- Failed and cancelled jobs whose hook raised an error when they finished: run_hooks() calls it again.
create table pgqueue.hook_calls (
    job_id uuid not null,
    function_schema name not null,
    function_name name not null,
    tries integer not null default 1,
    next_try_at timestamptz not null,
    error text not null,
    constraint hook_calls_pkey primary key (job_id, function_schema, function_name),
    constraint hook_calls_tries_check check (tries >= 1)
);
create index hook_calls_next_try_at_idx on pgqueue.hook_calls (next_try_at);
