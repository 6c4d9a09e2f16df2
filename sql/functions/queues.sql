-- Pausing and job type settings. A pause holds for every claim that starts after it commits; what runs goes on, and
-- producers go on inserting.

-- Pausing twice keeps the first time. A new reason replaces the old one.
create or replace function pgqueue.pause_queue(p_queue text, p_reason text default null)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform pgqueue.check_given('queue', p_queue, 'For example: select pgqueue.pause_queue(''mail'').');
    perform pgqueue.note_unknown('queue', p_queue);
    insert into pgqueue.queues as q (queue, paused_at, paused_reason)
    values (p_queue, clock_timestamp(), p_reason)
    on conflict (queue) do update
        set paused_at = coalesce(q.paused_at, excluded.paused_at), paused_reason = coalesce(excluded.paused_reason, q.paused_reason);
end
$$;
revoke all on function pgqueue.pause_queue(text, text) from public;

-- Resuming rings: the jobs that were held back lie below nobody's claim, but perhaps below a floor.
create or replace function pgqueue.resume_queue(p_queue text)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform pgqueue.check_given('queue', p_queue, 'For example: select pgqueue.resume_queue(''mail'').');
    update pgqueue.queues q set paused_at = null, paused_reason = null where q.queue = p_queue;
    perform pgqueue.ring(array[p_queue]);
end
$$;
revoke all on function pgqueue.resume_queue(text) from public;

-- Hold every job of a type, whatever its queue.
create or replace function pgqueue.pause_job_type(p_job_type text, p_reason text default null)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform pgqueue.check_given('job_type', p_job_type, 'For example: select pgqueue.pause_job_type(''send_invoice'').');
    perform pgqueue.note_unknown('job_type', p_job_type);
    insert into pgqueue.job_types as t (job_type, paused_at, paused_reason)
    values (p_job_type, clock_timestamp(), p_reason)
    on conflict (job_type) do update
        set paused_at = coalesce(t.paused_at, excluded.paused_at), paused_reason = coalesce(excluded.paused_reason, t.paused_reason);
end
$$;
revoke all on function pgqueue.pause_job_type(text, text) from public;

-- Rings all queues: its jobs can be in any.
create or replace function pgqueue.resume_job_type(p_job_type text)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform pgqueue.check_given('job_type', p_job_type, 'For example: select pgqueue.resume_job_type(''send_invoice'').');
    update pgqueue.job_types t set paused_at = null, paused_reason = null where t.job_type = p_job_type;
    perform pgqueue.ring_all();
end
$$;
revoke all on function pgqueue.resume_job_type(text) from public;

-- An operator's settings of a job type. NULL leaves a setting as it is; from then on workers' declarations of this type
-- are ignored (operator_managed), until p_operator_managed => false.
create or replace function pgqueue.set_job_type(
    p_job_type text,
    p_enabled boolean default null,
    p_queue text default null,
    p_max_attempts integer default null,
    p_timeout interval default null,
    p_backoff_base interval default null,
    p_backoff_factor double precision default null,
    p_backoff_cap interval default null,
    p_retention interval default null,
    p_description text default null,
    p_operator_managed boolean default true
)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform pgqueue.check_given('job_type', p_job_type, 'For example: select pgqueue.set_job_type(''send_invoice'', p_max_attempts => 3).');
    perform pgqueue.note_unknown('job_type', p_job_type);
    insert into pgqueue.job_types (job_type) values (p_job_type) on conflict (job_type) do nothing;
    update pgqueue.job_types t set
        enabled = coalesce(p_enabled, t.enabled),
        queue = coalesce(p_queue, t.queue),
        max_attempts = coalesce(p_max_attempts, t.max_attempts),
        timeout = coalesce(p_timeout, t.timeout),
        backoff_base = coalesce(p_backoff_base, t.backoff_base),
        backoff_factor = coalesce(p_backoff_factor, t.backoff_factor),
        backoff_cap = coalesce(p_backoff_cap, t.backoff_cap),
        retention = coalesce(p_retention, t.retention),
        description = coalesce(p_description, t.description),
        operator_managed = coalesce(p_operator_managed, true)
    where t.job_type = p_job_type;
    perform pgqueue.ring_all() where p_enabled;
end
$$;
revoke all on function pgqueue.set_job_type(text, boolean, text, integer, interval, interval, double precision, interval, interval, text, boolean) from public;

-- The settings of the whole queue system. NULL leaves one as it is.
create or replace function pgqueue.set_settings(
    p_strict_job_types boolean default null,
    p_max_attempts integer default null,
    p_backoff_base interval default null,
    p_backoff_factor double precision default null,
    p_backoff_cap interval default null,
    p_retention interval default null,
    p_timeout_grace interval default null,
    p_aging interval default null
)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    update pgqueue.settings s set
        strict_job_types = coalesce(p_strict_job_types, s.strict_job_types),
        max_attempts = coalesce(p_max_attempts, s.max_attempts),
        backoff_base = coalesce(p_backoff_base, s.backoff_base),
        backoff_factor = coalesce(p_backoff_factor, s.backoff_factor),
        backoff_cap = coalesce(p_backoff_cap, s.backoff_cap),
        retention = coalesce(p_retention, s.retention),
        timeout_grace = coalesce(p_timeout_grace, s.timeout_grace),
        aging = coalesce(p_aging, s.aging);
end
$$;
revoke all on function pgqueue.set_settings(boolean, integer, interval, double precision, interval, interval, interval, interval) from public;
