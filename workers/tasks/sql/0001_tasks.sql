-- Which SQL functions the job type sql_task may call. `pgqueue migrate --app` has made the schema.

comment on schema tasks is 'Ready handlers: what jobs of type sql_task may call.';

-- Names and not regprocedure: pg_upgrade refuses tables with such columns.
create table tasks.allowed_functions (
    name text primary key,
    function_schema name not null,
    function_name name not null,
    description text,
    allowed_at timestamptz not null default now(),
    allowed_by text not null default session_user,
    constraint allowed_functions_name_check check (length(name) between 1 and 100)
);
comment on table tasks.allowed_functions is 'What jobs of type sql_task may call: functions that take one jsonb and return jsonb.';
comment on column tasks.allowed_functions.name is 'What a job names; nothing else of it reaches SQL as a name.';
comment on column tasks.allowed_functions.function_schema is 'Where the function is.';
comment on column tasks.allowed_functions.function_name is 'What it is called there.';
comment on column tasks.allowed_functions.description is 'What for, as given to tasks.allow().';
comment on column tasks.allowed_functions.allowed_at is 'When it was allowed last.';
comment on column tasks.allowed_functions.allowed_by is 'The login that allowed it.';
