-- Completing: everything that a worker says about a job names (job id, token). A stale token changes nothing.
--
-- An outcome is a JSON object, all keys optional; NULL = plain success:
--   do            'complete' (default), 'fail', 'snooze', 'pause_until', 'release' or 'cancel'
--   result, result_url, metrics {}, errors [{code, message, item, retryable}], created [[entity_type, entity_id], ...],
--   status 'partial' (implied by errors), follow_ups [job, ...] as enqueue_many() takes them      with complete
--   error {code, message, ...}, retryable (true), retry_after_seconds, errors, metrics            with fail
--   delay_seconds                                                                                 with snooze
--   signal, timeout_seconds, on_timeout 'fail' (default) or 'run'                                 with pause_until
--   reason                                                                                        with cancel

-- What is wrong with an outcome of 'complete', in words; NULL = nothing.
create or replace function pgqueue.outcome_problem(p_outcome jsonb)
returns text
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
    select case
        when p_outcome is null then null
        when jsonb_typeof(p_outcome) <> 'object' then 'the outcome is not a JSON object'
        when jsonb_typeof(p_outcome -> 'errors') not in ('array', 'null') then 'errors is not an array'
        when jsonb_typeof(p_outcome -> 'metrics') not in ('object', 'null') then 'metrics is not an object'
        when jsonb_typeof(p_outcome -> 'created') not in ('array', 'null') then 'created is not an array'
        when jsonb_typeof(p_outcome -> 'follow_ups') not in ('array', 'null') then 'follow_ups is not an array'
        when length(p_outcome ->> 'result_url') > 2000 then 'result_url is longer than 2,000 characters'
        when coalesce(p_outcome ->> 'status', 'succeeded') not in ('succeeded', 'partial') then 'status is neither succeeded nor partial'
        when pg_column_size(p_outcome) > 16777216 then 'the outcome is larger than 16 MiB'
    end;
$$;
revoke all on function pgqueue.outcome_problem(jsonb) from public;

-- Complete the jobs that their tokens still own; returns how many. p_outcomes NULL = all plain. p_strict: a hook's error is
-- the caller's; else it ends that job's attempt alone (hooks.sql).
-- Locks running rows in job_id order, then jobs rows of keyed jobs. One statement moves the batch and counts it. The
-- DELETE is one scan of running_pkey in job_id order for just these ids: coalesce() keeps the pairs from becoming a join,
-- whose order the planner would choose. One generic plan as in claim(): 913 -> 348 us for a job alone, with its commit.
create or replace function pgqueue.complete_owned(p_job_ids uuid[], p_tokens bigint[], p_outcomes jsonb[], p_strict boolean)
returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_nestloop = off
set enable_mergejoin = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
    v_now timestamptz := clock_timestamp();
    v_done bigint;
    v_flagged uuid[];
    v_hooked pgqueue.running[];
    v_refused uuid[] := array[]::uuid[];
    v_rich bigint[];
begin
    with gone as (
        delete from pgqueue.running r
        where r.job_id = any (p_job_ids)
            and coalesce((r.job_id, r.token) in (
                select u.job_id, u.token from unnest(p_job_ids, p_tokens) as u (job_id, token)), false)
        returning r.*, case when r.flags & 128 <> 0 then r end as hooked
    ), given as (
        select distinct on (u.job_id, u.token) u.job_id, u.token, u.outcome
        from unnest(p_job_ids, p_tokens, p_outcomes) as u (job_id, token, outcome)
        where p_outcomes is not null
        order by u.job_id, u.token
    ), owned as materialized (
        select x.*, g.outcome from gone x left join given g on g.job_id = x.job_id and g.token = x.token
    ), moved as (
        insert into pgqueue.finished (job_id, status, job_type, queue, token, attempt, worker_id, ready_at, started_at,
            finished_at, result, result_url, errors, metrics, progress, progress_message)
        select o.job_id,
            case when o.outcome ->> 'status' = 'partial' or jsonb_array_length(nullif(o.outcome -> 'errors', 'null')) > 0
                then 'partial' else 'succeeded' end,
            o.job_type, o.queue, o.token, o.attempt, o.worker_id, o.ready_at, o.started_at, v_now,
            nullif(o.outcome -> 'result', 'null'), o.outcome ->> 'result_url', nullif(o.outcome -> 'errors', 'null'),
            nullif(o.outcome -> 'metrics', 'null'), o.progress, o.progress_message
        from owned o
        returning status, job_type, queue, worker_id, ready_at, started_at
    ), counted as (
        insert into pgqueue.stats_log (minute, job_type, queue, worker_id, outcome, wait_bucket, run_bucket, jobs,
            wait_seconds, run_seconds)
        select date_trunc('minute', v_now), b.job_type, b.queue, b.worker_id, b.status, b.wait_bucket, b.run_bucket,
            count(*), sum(b.wait), sum(b.run)
        from (
            select m.*, width_bucket(m.wait, pgqueue.stats_bounds()) as wait_bucket,
                width_bucket(m.run, pgqueue.stats_bounds()) as run_bucket
            from (
                select f.job_type, f.queue, f.worker_id, f.status,
                    greatest(date_part('epoch', f.started_at - f.ready_at), 0) as wait,
                    greatest(date_part('epoch', v_now - f.started_at), 0) as run
                from moved f
            ) m
        ) b
        group by b.job_type, b.queue, b.worker_id, b.status, b.wait_bucket, b.run_bucket
    )
    select count(*), array_agg(o.job_id) filter (where o.flags <> 0 and o.flags & 128 = 0),
        array_agg(o.hooked) filter (where o.flags & 128 <> 0),
        array_agg(o.token) filter (where o.outcome ?| '{created,follow_ups}')
    into v_done, v_flagged, v_hooked, v_rich
    from owned o;

    if v_hooked is not null and v_flagged is not null then
        -- Two passes over one batch: take the locks of both now, in their order.
        perform pgqueue.lock_keyed_jobs(v_flagged || array(select h.job_id from unnest(v_hooked) h));
    end if;

    if v_flagged is not null then
        perform pgqueue.after_finish(v_flagged, v_hooked is null and v_rich is null);
    end if;
    if v_hooked is not null then
        v_refused := pgqueue.finish_hooked(v_hooked, p_strict);
        v_done := v_done - cardinality(v_refused);
        v_flagged := v_flagged || array(select h.job_id from unnest(v_hooked) h where h.job_id <> all (v_refused));
    end if;
    if v_rich is not null then
        perform pgqueue.store_created(u.job_id, u.outcome)
        from unnest(p_job_ids, p_tokens, p_outcomes) as u (job_id, token, outcome)
        where u.token = any (v_rich) and u.job_id <> all (v_refused);
    end if;
    if v_flagged is not null and not (v_hooked is null and v_rich is null) then
        -- Once for all of them, and after their follow-ups, which may have joined their batches.
        perform pgqueue.count_in_batches(v_flagged);
    end if;
    return v_done;
end
$$;
revoke all on function pgqueue.complete_owned(uuid[], bigint[], jsonb[], boolean) from public;

-- The rows that a job created, and the jobs that it wants to follow it, with its completion.
create or replace function pgqueue.store_created(p_job_id uuid, p_outcome jsonb)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_job record;
begin
    insert into pgqueue.job_results (job_id, entity_type, entity_id)
    select p_job_id, c.pair ->> 0, c.pair ->> 1
    from jsonb_array_elements(coalesce(nullif(p_outcome -> 'created', 'null'), '[]')) as c (pair)
    on conflict do nothing;
    if jsonb_array_length(coalesce(nullif(p_outcome -> 'follow_ups', 'null'), '[]')) > 0 then
        select j.batch_id, j.tenant_id into v_job from pgqueue.jobs j where j.id = p_job_id;
        perform pgqueue.insert_inside(v_job.batch_id, p_outcome -> 'follow_ups', v_job.tenant_id);
    end if;
end
$$;
revoke all on function pgqueue.store_created(uuid, jsonb) from public;

-- How this token completed the job: succeeded or partial; NULL = it did not. Only a completion counts as the token's own:
-- the rescue of a job past its deadline fails it under the same token. The twin for the other endings is ended_status().
create or replace function pgqueue.completed_status(p_job_id uuid, p_token bigint)
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select f.status from pgqueue.finished f
    where f.job_id = p_job_id and f.token = p_token and f.status in ('succeeded', 'partial');
$$;
revoke all on function pgqueue.completed_status(uuid, bigint) from public;

-- Complete one job, in the caller's transaction: with a handler's own writes it commits together or not at all.
-- Returns the status (succeeded, partial). Repeating it with the same token is harmless. Raises PQ001 (lease lost), which
-- aborts the transaction: that is the exactly-once path.
create or replace function pgqueue.complete(
    p_job_id uuid,
    p_token bigint,
    p_result jsonb default null,
    p_result_url text default null,
    p_errors jsonb default null,
    p_metrics jsonb default null,
    p_created jsonb default null,
    p_follow_ups jsonb default null
)
returns text
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_outcome jsonb;
    v_problem text;
    v_status text;
begin
    if num_nonnulls(p_result, p_result_url, p_errors, p_metrics, p_created, p_follow_ups) > 0 then
        v_outcome := jsonb_strip_nulls(jsonb_build_object('result_url', p_result_url))
            || jsonb_build_object('result', p_result, 'errors', p_errors, 'metrics', p_metrics, 'created', p_created,
                'follow_ups', p_follow_ups);
        v_problem := pgqueue.outcome_problem(v_outcome);
        if v_problem is not null then
            raise exception using errcode = 'PQ006', message = format('job %s cannot be completed: %s', p_job_id, v_problem);
        end if;
    end if;
    perform pgqueue.complete_owned(array[p_job_id], array[p_token], array[v_outcome], true);
    v_status := pgqueue.completed_status(p_job_id, p_token);
    if v_status is null then
        perform pgqueue.raise_lease_lost(p_job_id, p_token);
    end if;
    return v_status;
end
$$;
revoke all on function pgqueue.complete(uuid, bigint, jsonb, text, jsonb, jsonb, jsonb, jsonb) from public;
