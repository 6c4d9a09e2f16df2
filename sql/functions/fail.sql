-- Attempts that do not finish their job: fail with backoff, snooze, release, and the worker's answer to a cancel.

-- Seconds to wait before the next attempt: full jitter, uniform between 0 and min(cap, base * factor ^ (attempt - 1)).
-- Computed through logarithms: no attempt number overflows. Proved by tests/sql/test_backoff.py.
create or replace function pgqueue.backoff(p_job_type text, p_attempt integer)
returns interval
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
    select make_interval(secs => random() * exp(least(
        ln(extract(epoch from coalesce(t.backoff_cap, s.backoff_cap))::double precision),
        ln(extract(epoch from coalesce(t.backoff_base, s.backoff_base))::double precision)
            + (greatest(p_attempt, 1) - 1)::double precision * ln(coalesce(t.backoff_factor, s.backoff_factor)))))
    from pgqueue.settings s
    left join pgqueue.job_types t on t.job_type = p_job_type;
$$;
revoke all on function pgqueue.backoff(text, integer) from public;

-- End one attempt, whose running row the caller has just deleted, without finishing the job.
create or replace function pgqueue.end_attempt(
    p_running pgqueue.running,
    p_outcome text,
    p_error jsonb,
    p_due_at timestamptz,
    p_reason text,
    p_counts boolean
)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_now timestamptz := clock_timestamp();
    v_flags integer := pgqueue.leave_places(p_running);
begin
    insert into pgqueue.attempts (job_id, token, attempt, outcome, worker_id, started_at, ended_at, error)
    values (p_running.job_id, p_running.token, p_running.attempt, p_outcome, p_running.worker_id, p_running.started_at,
        v_now, p_error);
    perform pgqueue.place(p_running.job_id, p_due_at, p_reason, p_running.queue, p_running.priority, p_running.job_type,
        p_running.attempt - (not p_counts)::integer, v_flags);
    perform pgqueue.count_outcome(p_running.job_type, p_running.queue, p_running.worker_id, p_outcome,
        p_running.ready_at, p_running.started_at, v_now);
end
$$;
revoke all on function pgqueue.end_attempt(pgqueue.running, text, jsonb, timestamptz, text, boolean) from public;

-- An error as stored: an object with at least a message; anything else is wrapped.
create or replace function pgqueue.error_object(p_error jsonb)
returns jsonb
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
    select case
        when jsonb_typeof(p_error) = 'object' then p_error
        when jsonb_typeof(p_error) = 'string' then jsonb_build_object('code', 'error', 'message', p_error #>> '{}')
        when p_error is null then jsonb_build_object('code', 'error', 'message', 'failed')
        else jsonb_build_object('code', 'error', 'message', p_error::text)
    end;
$$;
revoke all on function pgqueue.error_object(jsonb) from public;

-- This attempt failed. The job runs again after its backoff (p_retry_after overrides it) while attempts are left and
-- p_retryable is true and its deadline_at comes later; otherwise it is failed. A job whose cancellation was requested ends as cancelled.
-- Returns the job's status: retrying, failed or cancelled. Repeating it is harmless. Raises PQ001.
create or replace function pgqueue.fail(
    p_job_id uuid,
    p_token bigint,
    p_error jsonb default null,
    p_retryable boolean default true,
    p_retry_after interval default null,
    p_errors jsonb default null,
    p_metrics jsonb default null
)
returns text
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_running pgqueue.running;
    v_error jsonb := pgqueue.error_object(p_error);
    v_status text;
    v_due_at timestamptz;
    v_deadline_at timestamptz;
begin
    if jsonb_typeof(coalesce(p_errors, '[]')) <> 'array' or jsonb_typeof(coalesce(p_metrics, '{}')) <> 'object' then
        raise exception using errcode = 'PQ006', message = 'errors must be a JSON array and metrics a JSON object';
    end if;
    delete from pgqueue.running r where r.job_id = p_job_id and r.token = p_token returning * into v_running;
    if not found then
        v_status := pgqueue.ended_status(p_job_id, p_token);
        if coalesce(v_status, '') not in ('retrying', 'failed', 'cancelled') then
            perform pgqueue.raise_lease_lost(p_job_id, p_token);
        end if;
        return v_status;
    end if;
    if v_running.cancel_requested_at is not null then
        perform pgqueue.finish_running(v_running, 'cancelled', v_running.cancel_reason, coalesce(p_errors, '[]') || v_error, p_metrics);
        return 'cancelled';
    end if;
    if not coalesce(p_retryable, true) or v_running.attempt >= pgqueue.attempts_allowed(p_job_id) then
        perform pgqueue.finish_running(v_running, 'failed', null, coalesce(p_errors, '[]') || v_error, p_metrics);
        return 'failed';
    end if;
    v_due_at := clock_timestamp() + coalesce(
        -- Ten years, as with snooze: dates that clients cannot load must not come to lie in scheduled.
        case when p_retry_after < interval '0' then interval '0' when p_retry_after > interval '10 years' then interval '10 years'
            else p_retry_after end,
        pgqueue.backoff(v_running.job_type, v_running.attempt));
    v_deadline_at := (select j.deadline_at from pgqueue.jobs j where j.id = p_job_id);
    if v_due_at >= v_deadline_at then
        perform pgqueue.finish_running(v_running, 'failed', null, coalesce(p_errors, '[]') || v_error || jsonb_build_object('code',
            'deadline_passed', 'message', format('the next attempt would come after the deadline of the job, %s', v_deadline_at)), p_metrics);
        return 'failed';
    end if;
    perform pgqueue.end_attempt(v_running, 'retrying', v_error, v_due_at, 'retry', true);
    return 'retrying';
end
$$;
revoke all on function pgqueue.fail(uuid, bigint, jsonb, boolean, interval, jsonb, jsonb) from public;

-- How an attempt that reported itself ended: the answer to a repeated report. NULL = it was never reported, or was
-- taken from its worker. Taken attempts answer NULL, so that a zombie hears that it lost.
create or replace function pgqueue.ended_status(p_job_id uuid, p_token bigint)
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select a.outcome from pgqueue.attempts a
    where a.job_id = p_job_id and a.token = p_token and a.outcome in ('retrying', 'snoozed', 'paused', 'released')
    union all
    select f.status from pgqueue.finished f
    where f.job_id = p_job_id and f.token = p_token and f.status in ('failed', 'cancelled')
        and not f.taken_back
    limit 1;
$$;
revoke all on function pgqueue.ended_status(uuid, bigint) from public;

-- The job's own limit, else its type's, else the setting.
create or replace function pgqueue.attempts_allowed(p_job_id uuid)
returns integer
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select coalesce(j.max_attempts, t.max_attempts, s.max_attempts)
    from pgqueue.jobs j
    cross join pgqueue.settings s
    left join pgqueue.job_types t on t.job_type = j.job_type
    where j.id = p_job_id;
$$;
revoke all on function pgqueue.attempts_allowed(uuid) from public;

-- Take a running job from the attempt that puts it off, for the caller to place: p_outcome 'snoozed' or 'paused'. NULL = nothing to place:
-- this report is a repeated one, or the job ends as cancelled because that was requested. Raises PQ001.
create or replace function pgqueue.take_to_wait(p_job_id uuid, p_token bigint, p_outcome text)
returns pgqueue.running
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_running pgqueue.running;
begin
    delete from pgqueue.running r where r.job_id = p_job_id and r.token = p_token returning * into v_running;
    if not found then
        if coalesce(pgqueue.ended_status(p_job_id, p_token), '') not in (p_outcome, 'cancelled') then
            perform pgqueue.raise_lease_lost(p_job_id, p_token);
        end if;
        return null;
    end if;
    if v_running.cancel_requested_at is not null then
        perform pgqueue.finish_running(v_running, 'cancelled', v_running.cancel_reason, null, null);
        return null;
    end if;
    return v_running;
end
$$;
revoke all on function pgqueue.take_to_wait(uuid, bigint, text) from public;

-- Put the job back for later without using up an attempt. Raises PQ001. Repeating it is harmless.
create or replace function pgqueue.snooze(p_job_id uuid, p_token bigint, p_delay interval)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_running pgqueue.running;
begin
    if p_delay is null or p_delay < interval '0' or p_delay > interval '10 years' then
        raise exception using errcode = 'PQ006', message = format('cannot snooze for %s: give 0 to 10 years', p_delay);
    end if;
    v_running := pgqueue.take_to_wait(p_job_id, p_token, 'snoozed');
    if v_running.job_id is not null then
        perform pgqueue.end_attempt(v_running, 'snoozed', null, clock_timestamp() + p_delay, 'snooze', false);
    end if;
end
$$;
revoke all on function pgqueue.snooze(uuid, bigint, interval) from public;

-- Give a job back at once, unfinished, without using up an attempt (shutdown). False = lease lost.
create or replace function pgqueue.try_release(p_job_id uuid, p_token bigint)
returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_running pgqueue.running;
begin
    delete from pgqueue.running r where r.job_id = p_job_id and r.token = p_token returning * into v_running;
    if not found then
        return coalesce(pgqueue.ended_status(p_job_id, p_token), '') in ('released', 'cancelled');
    end if;
    if v_running.cancel_requested_at is not null then
        perform pgqueue.finish_running(v_running, 'cancelled', v_running.cancel_reason, null, null);
    else
        perform pgqueue.end_attempt(v_running, 'released', null, '-infinity', 'run_at', false);
    end if;
    return true;
end
$$;
revoke all on function pgqueue.try_release(uuid, bigint) from public;

-- As try_release(). Raises PQ001. Repeating it is harmless.
create or replace function pgqueue.release(p_job_id uuid, p_token bigint)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if not pgqueue.try_release(p_job_id, p_token) then
        perform pgqueue.raise_lease_lost(p_job_id, p_token);
    end if;
end
$$;
revoke all on function pgqueue.release(uuid, bigint) from public;

-- The attempt gave up because it was asked to, or its handler cancelled its own job. Raises PQ001.
create or replace function pgqueue.cancel_running(p_job_id uuid, p_token bigint, p_reason text default null)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_running pgqueue.running;
begin
    delete from pgqueue.running r where r.job_id = p_job_id and r.token = p_token returning * into v_running;
    if not found then
        if pgqueue.ended_status(p_job_id, p_token) is distinct from 'cancelled' then
            perform pgqueue.raise_lease_lost(p_job_id, p_token);
        end if;
        return;
    end if;
    perform pgqueue.finish_running(v_running, 'cancelled', coalesce(p_reason, v_running.cancel_reason), null, null);
end
$$;
revoke all on function pgqueue.cancel_running(uuid, bigint, text) from public;
