-- A function of the application's: it closes a day, once
create table tasks.closed_days (day date primary key, closed_at timestamptz not null default now());

create function tasks.close_day(p_arguments jsonb) returns jsonb language sql
begin atomic
    insert into tasks.closed_days (day) values ((p_arguments ->> 'day')::date)
    returning jsonb_build_object('closed', day);
end;

-- The owner allows it
select tasks.allow('close_day', 'tasks.close_day', 'the end of a business day');

-- Anybody who may insert jobs can ask for it now, and for a command of the worker's list
insert into pgqueue.jobs (job_type, payload) values
    ('sql_task', '{"function": "close_day", "arguments": {"day": "2026-01-31"}}'),
    ('shell', '{"command": "word_count", "arguments": {"file": "ode.txt"}}');
