-- Jobs that wait for a signal: a person's approval, a webhook, another system. The attempt ends without using itself up, the job
-- lies in blocked (reason signal) and occupies no worker; it runs again, from the start, when the signal comes or its time is over.
--
-- Signals belong to the job and are kept as long as it is: one that comes before the job waits for it is not lost, and each
-- later attempt finds all of them. Of several with one name the first counts; so a job that waits twice uses two names, and a
-- signal or a token of the first wait does not satisfy the second. The end of the waiting time with on_timeout 'run' counts as the
-- first, too: a signal that comes after it is refused.
--
-- signal() and pause_until() meet at the job's row of jobs. signal() waits for it and holds it. pause_until() must not wait there, with a
-- report's other jobs in its hands: finding the row locked, it leaves the job to be looked at again a second later.
-- Both write a new version of that row: with a snapshot from before the other (REPEATABLE READ) neither sees it, and the later one
-- gets 40001 for it instead of leaving the job to wait for ever.
-- Lock order: running, jobs, blocked. Proved by tests/sql/test_signals.py and tests/races/test_signals.py.

-- Raises PQ006 for what cannot be the name of a signal.
create or replace function pgqueue.check_signal(p_name text)
returns void
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    if p_name is null or p_name !~ '^[A-Za-z0-9_.:-]{1,100}$' then
        raise exception using errcode = 'PQ006', message = format('%L is not the name of a signal', p_name),
            hint = 'Give 1 to 100 ASCII letters, digits, and _ . : - characters.';
    end if;
end
$$;
revoke all on function pgqueue.check_signal(text) from public;

-- The attempt ends, and the job waits for this signal; if it has come already the job runs again at once. p_timeout NULL = for ever
-- (but expires_at and deadline_at hold). p_on_timeout: 'fail', or 'run' to go on without it. Raises PQ001, PQ006. Repeating it is
-- harmless.
create or replace function pgqueue.pause_until(
    p_job_id uuid,
    p_token bigint,
    p_signal text,
    p_timeout interval default null,
    p_on_timeout text default 'fail'
)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_running pgqueue.running;
    v_now timestamptz := clock_timestamp();
    v_timeout_at timestamptz := v_now + p_timeout;
    v_locked boolean;
    v_flags integer;
begin
    perform pgqueue.check_signal(p_signal);
    if p_timeout < interval '0' or p_timeout > interval '10 years' or p_on_timeout is null or p_on_timeout not in ('fail', 'run') then
        raise exception using errcode = 'PQ006', message = format('cannot wait for %s and then %L: give 0 to 10 years, and fail or run',
            p_timeout, p_on_timeout);
    end if;
    v_running := pgqueue.take_to_wait(p_job_id, p_token, 'paused');
    if v_running.job_id is null then
        return;
    end if;
    v_flags := pgqueue.leave_places(v_running);
    insert into pgqueue.attempts (job_id, token, attempt, outcome, worker_id, started_at, ended_at)
    values (p_job_id, p_token, v_running.attempt, 'paused', v_running.worker_id, v_running.started_at, v_now);
    perform pgqueue.count_outcome(v_running.job_type, v_running.queue, v_running.worker_id, 'paused', v_running.ready_at,
        v_running.started_at, v_now);
    select true into v_locked from pgqueue.jobs j where j.id = p_job_id for no key update skip locked;
    insert into pgqueue.blocked (job_id, reason, signal, look_at, timeout_at, on_timeout, queue, priority, job_type, attempts, flags, expires_at)
    select p_job_id, 'signal', p_signal, case when v_locked then v_timeout_at else least(v_timeout_at, v_now + interval '1 second') end,
        v_timeout_at, p_on_timeout, v_running.queue, v_running.priority, v_running.job_type, v_running.attempt - 1, v_flags | 256,
        least(j.expires_at, j.deadline_at)
    from pgqueue.jobs j where j.id = p_job_id;
    if v_locked then
        perform pgqueue.look_at_signal(p_job_id);
    end if;
end
$$;
revoke all on function pgqueue.pause_until(uuid, bigint, text, interval, text) from public;

-- A job that waits for a signal, and whose jobs row the caller holds: let it go if the signal is there; if its time is over fail it or let
-- it go; else look again when its time is over. False = it goes on waiting, or did not wait.
create or replace function pgqueue.look_at_signal(p_job_id uuid)
returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_blocked pgqueue.blocked;
    v_over boolean;
begin
    select b.* into v_blocked from pgqueue.blocked b where b.job_id = p_job_id and b.reason = 'signal';
    if not found then
        return false;
    end if;
    if not exists (select from pgqueue.signals s where s.job_id = p_job_id and s.name = v_blocked.signal) then
        v_over := v_blocked.timeout_at <= clock_timestamp();
        if v_over is not true then
            -- It waits on: a signal() with a snapshot from before this gets 40001.
            update pgqueue.jobs j set unique_key = j.unique_key where j.id = p_job_id;
            update pgqueue.blocked b set look_at = b.timeout_at where b.job_id = p_job_id and b.look_at is distinct from b.timeout_at;
            return false;
        end if;
    end if;
    -- What it returns, not what was read: an INSERT of a dependent may have marked it in between.
    delete from pgqueue.blocked b where b.job_id = p_job_id returning * into v_blocked;
    if v_over and v_blocked.on_timeout = 'fail' then
        perform pgqueue.finish_waiting(p_job_id, v_blocked.job_type, v_blocked.queue, v_blocked.attempts, v_blocked.flags,
            format('signal %s did not come until %s', v_blocked.signal, date_trunc('second', v_blocked.timeout_at)), 'signal_timeout', 'failed');
        return true;
    end if;
    if v_over then
        insert into pgqueue.signals (job_id, name, timed_out) values (p_job_id, v_blocked.signal, true);
    end if;
    perform pgqueue.place(p_job_id, '-infinity', 'run_at', v_blocked.queue, v_blocked.priority, v_blocked.job_type, v_blocked.attempts,
        v_blocked.flags);
    return true;
end
$$;
revoke all on function pgqueue.look_at_signal(uuid) from public;

-- Tell a job something, by name; one that waits for it runs. p_name may also be a token of signal_token() for this job. False = the job
-- was told this already, or gave up waiting: the first counts. Raises PQ003; PQ002 when the job has finished; PQ006; PQ011 for
-- a token that is none. Holds the job's row until the commit.
create or replace function pgqueue.signal(p_job_id uuid, p_name text, p_payload jsonb default null)
returns boolean
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform pgqueue.check_job(p_job_id);
    if strpos(p_name, '~') > 0 then
        if pgqueue.read_signal_token(p_name) <> p_job_id then
            raise exception using errcode = 'PQ011', message = 'that token is for another job';
        end if;
        p_name := split_part(p_name, '~', 1);
    end if;
    return pgqueue.store_signal(p_job_id, p_name, p_payload);
end
$$;
revoke all on function pgqueue.signal(uuid, text, jsonb) from public;

-- The same by a token alone, whoever brings it: for what listens to webhooks. No check of the tenant: the token is the right.
create or replace function pgqueue.signal_by_token(p_token text, p_payload jsonb default null)
returns boolean
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    return pgqueue.store_signal(pgqueue.read_signal_token(p_token), split_part(p_token, '~', 1), p_payload);
end
$$;
revoke all on function pgqueue.signal_by_token(text, jsonb) from public;

-- What signal() and signal_by_token() share once they know who may: write it down, unless the job was told this already (false), and let
-- the job go if it waits for it. Locks the job's row of jobs. Raises PQ002 when the job has finished, or is gone; PQ006.
create or replace function pgqueue.store_signal(p_job_id uuid, p_name text, p_payload jsonb)
returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform pgqueue.check_signal(p_name);
    perform from pgqueue.jobs j where j.id = p_job_id for no key update;
    if not found or exists (select from pgqueue.finished f where f.job_id = p_job_id) then
        raise exception using errcode = 'PQ002', message = format('job %s has finished: it waits for no signal', p_job_id),
            hint = 'select pgqueue.why_waiting(id) says how it ended.';
    end if;
    insert into pgqueue.signals (job_id, name, payload) values (p_job_id, p_name, p_payload)
    on conflict do nothing;
    if not found then
        return false;
    end if;
    -- A pause_until() with a snapshot from before this gets 40001.
    update pgqueue.jobs j set unique_key = j.unique_key where j.id = p_job_id;
    perform pgqueue.look_at_signal(p_job_id);
    return true;
end
$$;
revoke all on function pgqueue.store_signal(uuid, text, jsonb) from public;

-- An unguessable token for one signal of one job, to be put into a link: name~job~signature. The same whenever it is asked for.
-- Raises PQ003, PQ006.
create or replace function pgqueue.signal_token(p_job_id uuid, p_name text)
returns text
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform pgqueue.check_job(p_job_id);
    perform pgqueue.check_signal(p_name);
    return concat_ws('~', p_name, replace(p_job_id::text, '-', ''), encode(pgqueue.hmac_sha256(
        (select s.secret from pgqueue.signal_secret s), convert_to(format('%s~%s', p_name, p_job_id), 'UTF8')), 'hex'));
end
$$;
revoke all on function pgqueue.signal_token(uuid, text) from public;

-- The job that a token is for. Raises PQ011 unless it is one of signal_token(). Signatures are compared by their hashes: how long
-- that takes tells nothing about them.
create or replace function pgqueue.read_signal_token(p_token text)
returns uuid
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_job_id uuid;
begin
    if (p_token ~ '^[A-Za-z0-9_.:-]{1,100}~[0-9a-f]{32}~[0-9a-f]{64}$') then
        v_job_id := split_part(p_token, '~', 2)::uuid;
        if sha256(decode(split_part(p_token, '~', 3), 'hex')) = sha256(pgqueue.hmac_sha256((select s.secret from pgqueue.signal_secret s),
            convert_to(format('%s~%s', split_part(p_token, '~', 1), v_job_id), 'UTF8')))
        then
            return v_job_id;
        end if;
    end if;
    raise exception using errcode = 'PQ011', message = 'that is not a token of pgqueue.signal_token()';
end
$$;
revoke all on function pgqueue.read_signal_token(text) from public;

-- What a job was told, in order. timed_out = nothing: the job gave up waiting for this name.
create or replace function pgqueue.signals_of(p_job_id uuid)
returns table (name text, payload jsonb, timed_out boolean, sent_at timestamptz, sent_by text)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform pgqueue.check_job(p_job_id);
    return query select s.name, s.payload, s.timed_out, s.sent_at, s.sent_by from pgqueue.signals s where s.job_id = p_job_id order by s.sent_at;
end
$$;
revoke all on function pgqueue.signals_of(uuid) from public;

-- A claimed job's headers with what it was told, under pgqueue.signals: claims call it for jobs that have waited (flags bit 8).
create or replace function pgqueue.headers_with_signals(p_job_id uuid, p_headers jsonb)
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select (coalesce(p_headers, '{}') || coalesce(jsonb_build_object('pgqueue.signals', jsonb_agg(jsonb_build_object('name', s.name,
        'payload', s.payload, 'timed_out', s.timed_out, 'sent_at', s.sent_at, 'sent_by', s.sent_by) order by s.sent_at))
        , '{}'))::text
    from pgqueue.signals s where s.job_id = p_job_id;
$$;
revoke all on function pgqueue.headers_with_signals(uuid, jsonb) from public;

-- Jobs whose waiting time is over, or which pause_until() could not look at. Skips those whose jobs row somebody holds. Returns how
-- many it let go or failed, and when the next is due.
create or replace function pgqueue.look_at_signals(p_limit integer default 1000)
returns table (moved bigint, next_look_at timestamptz)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_sort = off
set enable_bitmapscan = off
set jit = off
as $$
#variable_conflict use_column
declare
    v_now timestamptz := clock_timestamp();
begin
    moved := 0;
    if not pg_try_advisory_xact_lock(7067004, 7) then
        return next;
        return;
    end if;
    moved := pgqueue.move_each('look_at_signals', array(
        select x.job_id from unnest(array(
            select w.job_id
            from (select b.job_id from pgqueue.blocked b where b.look_at <= v_now order by b.look_at limit 20 * p_limit::bigint) w
            where pgqueue.may_move('look_at_signals', w.job_id, v_now) limit p_limit)) as x (job_id)
        order by x.job_id));
    select least(b.look_at, timestamptz '9999-12-30 00:00:00+00') into next_look_at from pgqueue.blocked b
    where b.look_at > v_now order by b.look_at limit 1;
    return next;
end
$$;
revoke all on function pgqueue.look_at_signals(integer) from public;
