-- Reporting a batch of outcomes, alone or with the next claim, and asking what became of an attempt. What an outcome is: complete.sql.

-- Report a batch of outcomes (see the top of complete.sql). A plain completion is not answered, unless a hook refused it. A row with refused set
-- ('lease_lost') changed nothing: one zombie does not undo its batch-mates. Every other outcome is answered with the
-- status that it led to: succeeded, partial, retrying, failed, cancelled, snoozed, paused or released. An outcome that
-- PostgreSQL refuses (a NUL character, NaN, 16 MiB) fails its job alone, with code result_refused and no retry.
-- Repeating a batch is harmless.
-- Proved by tests/sql/test_report.py.
create or replace function pgqueue.report(p_job_ids uuid[], p_tokens bigint[], p_outcomes text[] default null)
returns table (job_id uuid, token bigint, refused text, status text)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_given integer := coalesce(cardinality(p_job_ids), 0);
    v_outcomes jsonb[];
    v_odd integer[];
    v_plain_ids uuid[] := p_job_ids;
    v_plain_tokens bigint[] := p_tokens;
    v_plain_outcomes jsonb[];
    v_done bigint;
begin
    if v_given <> coalesce(cardinality(p_tokens), 0) or v_given <> coalesce(cardinality(p_outcomes), v_given) then
        raise exception using errcode = 'PQ006', message = 'job ids, tokens and outcomes differ in number';
    end if;
    if v_given = 0 then
        return;
    end if;
    if p_outcomes is not null and array_remove(p_outcomes, null) <> '{}' then
        v_outcomes := pgqueue.parse_outcomes(p_outcomes);
        select array_agg(u.n::integer order by u.job_id) into v_odd
        from unnest(p_job_ids, v_outcomes) with ordinality as u (job_id, outcome, n)
        where coalesce(u.outcome ->> 'do', 'complete') <> 'complete' or u.outcome ?| '{created,follow_ups}';
        if v_odd is null then
            v_plain_outcomes := v_outcomes;
        else
            select array_agg(u.job_id), array_agg(u.token), array_agg(u.outcome)
            into v_plain_ids, v_plain_tokens, v_plain_outcomes
            from unnest(p_job_ids, p_tokens, v_outcomes) with ordinality as u (job_id, token, outcome, n)
            where u.n <> all (v_odd);
        end if;
    end if;

    if v_odd is not null then
        -- Two passes over one batch: take the locks of both now, in their order.
        perform pgqueue.lock_keyed_jobs(array(
            select r.job_id from pgqueue.running r where r.job_id = any (p_job_ids) order by r.job_id for update));
    end if;
    v_done := 0;
    if v_plain_ids is not null then
        v_done := pgqueue.complete_owned(v_plain_ids, v_plain_tokens, v_plain_outcomes, false);
        if v_done < cardinality(v_plain_ids) then
            return query
                select u.job_id, u.token, case when r.status is null then 'lease_lost' end, r.status
                from unnest(v_plain_ids, v_plain_tokens) as u (job_id, token)
                cross join lateral pgqueue.refused_status(u.job_id, u.token) as r (status)
                where pgqueue.completed_status(u.job_id, u.token) is null;
        end if;
    end if;
    if v_odd is not null then
        return query
            select p_job_ids[o.n], p_tokens[o.n], case when s.status is null then 'lease_lost' end, s.status
            from unnest(v_odd) as o (n)
            cross join lateral pgqueue.report_other(p_job_ids[o.n], p_tokens[o.n], v_outcomes[o.n]) as s (status);
    end if;
end
$$;
revoke all on function pgqueue.report(uuid[], bigint[], text[]) from public;

-- The outcomes as jsonb; one that PostgreSQL cannot take becomes a failure of its job. The whole batch is cast at
-- once; only when that fails each is tried alone.
create or replace function pgqueue.parse_outcomes(p_outcomes text[])
returns jsonb[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_outcomes jsonb[];
    v_problem text;
begin
    begin
        v_outcomes := p_outcomes::jsonb[];
    exception when data_exception or program_limit_exceeded or statement_too_complex then
        for i in 1..cardinality(p_outcomes) loop
            begin
                v_outcomes[i] := p_outcomes[i]::jsonb;
            exception when data_exception or program_limit_exceeded or statement_too_complex then
                v_outcomes[i] := pgqueue.refused_outcome(sqlerrm);
            end;
        end loop;
    end;
    for i in 1..cardinality(p_outcomes) loop
        v_problem := pgqueue.outcome_problem(v_outcomes[i]);
        if v_problem is not null then
            v_outcomes[i] := pgqueue.refused_outcome(v_problem);
        end if;
    end loop;
    return v_outcomes;
end
$$;
revoke all on function pgqueue.parse_outcomes(text[]) from public;

-- What becomes of an outcome that cannot be stored: its job fails for good.
create or replace function pgqueue.refused_outcome(p_problem text)
returns jsonb
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
    select jsonb_build_object('do', 'fail', 'retryable', false, 'error',
        jsonb_build_object('code', 'result_refused', 'message', 'PostgreSQL cannot store what the handler returned: ' || p_problem));
$$;
revoke all on function pgqueue.refused_outcome(text) from public;

-- One outcome that is not a plain completion, or whose follow-ups and created rows may be refused. Returns the status
-- that it led to; NULL = lease lost.
create or replace function pgqueue.report_other(p_job_id uuid, p_token bigint, p_outcome jsonb)
returns text
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    case coalesce(p_outcome ->> 'do', 'complete')
        when 'complete' then
            perform pgqueue.complete_owned(array[p_job_id], array[p_token], array[p_outcome], false);
            return coalesce(pgqueue.completed_status(p_job_id, p_token), pgqueue.refused_status(p_job_id, p_token));
        when 'fail' then
            return pgqueue.fail(p_job_id, p_token, nullif(p_outcome -> 'error', 'null'),
                coalesce((p_outcome ->> 'retryable')::boolean, true),
                pgqueue.seconds((p_outcome ->> 'retry_after_seconds')::double precision),
                nullif(p_outcome -> 'errors', 'null'), nullif(p_outcome -> 'metrics', 'null'));
        when 'snooze' then
            perform pgqueue.snooze(p_job_id, p_token,
                pgqueue.seconds(coalesce((p_outcome ->> 'delay_seconds')::double precision, 0)));
        when 'pause_until' then
            perform pgqueue.pause_until(p_job_id, p_token, p_outcome ->> 'signal',
                pgqueue.seconds((p_outcome ->> 'timeout_seconds')::double precision), coalesce(p_outcome ->> 'on_timeout', 'fail'));
        when 'release' then
            perform pgqueue.release(p_job_id, p_token);
        when 'cancel' then
            perform pgqueue.cancel_running(p_job_id, p_token, p_outcome ->> 'reason');
        else
            return pgqueue.fail(p_job_id, p_token, jsonb_build_object('code', 'outcome_unknown',
                'message', format('unknown outcome %L', p_outcome ->> 'do')), false);
    end case;
    return pgqueue.ended_status(p_job_id, p_token);
exception
    when sqlstate 'PQ001' then
        return null;
    when data_exception or integrity_constraint_violation or program_limit_exceeded or raise_exception or sqlstate 'PQ006' or sqlstate 'PQ008' then
        -- Something in the outcome is refused, a follow-up of an unknown type or by an application's own trigger: the job
        -- fails with that as its error, and its batch-mates never hear of it. A quota may have room again later.
        begin
            return pgqueue.fail(p_job_id, p_token, jsonb_build_object('code', 'outcome_refused', 'message', sqlerrm), sqlstate = 'PQ008');
        exception when sqlstate 'PQ001' then
            return null;
        end;
end
$$;
revoke all on function pgqueue.report_other(uuid, bigint, jsonb) from public;

-- One round trip: report a batch and claim the next. Rows with refused or status set answer the report; the others are
-- claimed.
create or replace function pgqueue.exchange(
    p_worker bigint,
    p_queues text[],
    p_limit integer,
    p_floors bigint[],
    p_job_ids uuid[],
    p_tokens bigint[],
    p_outcomes text[] default null
)
returns table (
    refused text,
    status text,
    job_id uuid,
    token bigint,
    job_type text,
    queue text,
    priority smallint,
    pos bigint,
    attempt integer,
    max_attempts integer,
    run_seconds_max double precision,
    payload text,
    headers text,
    tenant_id text,
    created_at timestamptz,
    ready_at timestamptz
)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    -- Before report() locks running rows: stop_worker() takes this lock first and those rows second.
    perform pg_advisory_xact_lock_shared(7067003, (p_worker % 2147483647)::integer);
    return query
        select r.refused, r.status, r.job_id, r.token, null, null, null::smallint, null::bigint, null::integer, null::integer,
            null::double precision, null, null, null, null::timestamptz, null::timestamptz
        from pgqueue.report(p_job_ids, p_tokens, p_outcomes) r;
    return query
        select null, null, c.* from pgqueue.claim(p_worker, p_queues, p_limit, p_floors) c;
end
$$;
revoke all on function pgqueue.exchange(bigint, text[], integer, bigint[], uuid[], bigint[], text[]) from public;

-- After a lost reply: what became of this attempt? 'finished', 'running' (still owned), 'ended' (recorded as an
-- attempt that did not finish the job) or 'lost'.
create or replace function pgqueue.settle(p_job_id uuid, p_token bigint)
returns text
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    return case
        when exists (select from pgqueue.finished f where f.job_id = p_job_id and f.token = p_token
            and (pgqueue.completed_status(p_job_id, p_token) is not null or pgqueue.ended_status(p_job_id, p_token) is not null)) then 'finished'
        when exists (select from pgqueue.running r where r.job_id = p_job_id and r.token = p_token) then 'running'
        when exists (select from pgqueue.attempts a where a.job_id = p_job_id and a.token = p_token
            and a.outcome not in ('lost', 'timed_out')) then 'ended'
        else 'lost'
    end;
end
$$;
revoke all on function pgqueue.settle(uuid, bigint) from public;
