-- Inserting a job that has keys, and what on_duplicate does when another job holds them. The rules are told in enqueue.sql.

-- Insert one job or find the one that serves it. The loop ends: each round either inserts, finds, or has seen the one in
-- the way finish. ON CONFLICT waits for an uncommitted holder of the same key, and inserts if that rolls back.
create or replace function pgqueue.insert_one(p_job pgqueue.jobs, p_on_duplicate text)
returns table (id uuid, inserted boolean)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    if p_job.depends_on is not null and p_job.unique_key is not null and p_on_duplicate <> 'ignore' then
        raise exception using errcode = 'PQ006', message = format('on_duplicate is %L, and the job has a unique_key and depends_on', p_on_duplicate),
            hint = 'What a job depends on never changes: use ignore.';
    end if;
    for i in 1..1000 loop
        insert into pgqueue.jobs (id, job_type, queue, priority, payload, run_at, expires_at, max_attempts, timeout,
            idempotency_key, unique_key, tenant_id, headers, notify, feed, callback_url, depends_on, on_parent_failure, concurrency_key, ordering_key, ordering_on_failure, batch_id, deadline_at)
        values (coalesce(p_job.id, pgqueue.uuid_v7()), p_job.job_type, p_job.queue, p_job.priority, p_job.payload, p_job.run_at,
            p_job.expires_at, p_job.max_attempts, p_job.timeout, p_job.idempotency_key, p_job.unique_key, p_job.tenant_id, p_job.headers,
            p_job.notify, p_job.feed, p_job.callback_url, p_job.depends_on, p_job.on_parent_failure,
            p_job.concurrency_key, p_job.ordering_key, p_job.ordering_on_failure,
            p_job.batch_id, p_job.deadline_at)
        on conflict do nothing
        returning jobs.id into id;
        if found then
            inserted := true;
            return next;
            return;
        end if;
        inserted := false;
        id := (
            select j.id from pgqueue.jobs j where j.tenant_id = p_job.tenant_id and j.idempotency_key = p_job.idempotency_key
            union all
            select j.id from pgqueue.jobs j
            where p_job.tenant_id is null and j.tenant_id is null and j.idempotency_key = p_job.idempotency_key
            union all
            select j.id from pgqueue.jobs j where j.id = p_job.id and j.tenant_id is not distinct from p_job.tenant_id
            limit 1);
        if id is null and p_job.unique_key is not null then
            select s.id, s.inserted into id, inserted from pgqueue.serve_duplicate(p_job, p_on_duplicate) s;
        end if;
        if id is not null then
            return next;
            return;
        end if;
        if (p_job.unique_key is null and p_job.idempotency_key is null)
            or exists (select from pgqueue.jobs j where j.id = p_job.id and j.tenant_id is distinct from p_job.tenant_id)
        then
            raise exception using errcode = '23505', constraint = 'jobs_pkey', schema = 'pgqueue', table = 'jobs',
                message = format('job id %s is taken', p_job.id);
        end if;
    end loop;
    raise exception using errcode = '40001', message = 'the unique key changed hands a thousand times in between: try again';
end
$$;
revoke all on function pgqueue.insert_one(pgqueue.jobs, text) from public;

-- An unfinished job holds the unique key: let it, or its follow-up, serve the request. No row = the key is free by now.
-- Locks the holder's jobs row, then its waiting row or its follow-up's: whoever finishes the holder waits for that.
create or replace function pgqueue.serve_duplicate(p_job pgqueue.jobs, p_on_duplicate text)
returns table (id uuid, inserted boolean)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_holder uuid;
    v_follow_up uuid;
begin
    select h.id into v_holder
    from (
        select j.id from pgqueue.jobs j where j.tenant_id = p_job.tenant_id and j.unique_key = p_job.unique_key
        union all
        select j.id from pgqueue.jobs j where p_job.tenant_id is null and j.tenant_id is null and j.unique_key = p_job.unique_key
    ) h;
    if v_holder is null then
        return;
    end if;
    id := v_holder;
    inserted := false;
    if p_on_duplicate = 'ignore' then
        return next;
        return;
    end if;
    perform from pgqueue.jobs j where j.id = v_holder and j.unique_key = p_job.unique_key for update;
    if not found then
        return;
    end if;
    select b.job_id into v_follow_up from pgqueue.blocked b where b.waits_for = v_holder and b.reason = 'follow_up';
    if v_follow_up is null and exists (select from pgqueue.running r where r.job_id = v_holder) then
        begin
            id := pgqueue.insert_follow_up(p_job, v_holder);
        exception when unique_violation then
            -- Its idempotency key or id was taken meanwhile: look again.
            return;
        end;
        -- A new version of the row: who completes the holder with a snapshot from before the follow-up gets 40001 for it
        -- instead of leaving the follow-up blocked for ever.
        update pgqueue.jobs j set unique_key = j.unique_key where j.id = v_holder;
        inserted := true;
        return next;
        return;
    end if;
    begin
        id := coalesce(v_follow_up, v_holder);
        update pgqueue.jobs j set
            payload = case when p_on_duplicate = 'merge' then pgqueue.merge_payloads(j.payload, p_job.payload) else p_job.payload end,
            headers = coalesce(p_job.headers, j.headers),
            run_at = case when p_on_duplicate = 'debounce' then p_job.run_at else j.run_at end
        where j.id = coalesce(v_follow_up, v_holder);
        return next;
    exception when sqlstate 'PQ002' then
        -- It was claimed, or the follow-up cancelled, between the look and the update: look again.
        return;
    end;
end
$$;
revoke all on function pgqueue.serve_duplicate(pgqueue.jobs, text) from public;

-- A job that waits until p_holder finishes and then takes over its unique key. The caller holds the holder's jobs row.
create or replace function pgqueue.insert_follow_up(p_job pgqueue.jobs, p_holder uuid)
returns uuid
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_id uuid;
begin
    insert into pgqueue.jobs (id, job_type, queue, priority, payload, run_at, expires_at, max_attempts, timeout,
        idempotency_key, tenant_id, headers, notify, feed, callback_url, concurrency_key, ordering_key, ordering_on_failure, batch_id, deadline_at)
    values (coalesce(p_job.id, pgqueue.uuid_v7()), p_job.job_type, p_job.queue, p_job.priority, p_job.payload, p_job.run_at,
        p_job.expires_at, p_job.max_attempts, p_job.timeout, p_job.idempotency_key, p_job.tenant_id, p_job.headers,
        p_job.notify, p_job.feed, p_job.callback_url, p_job.concurrency_key, p_job.ordering_key, p_job.ordering_on_failure, p_job.batch_id, p_job.deadline_at)
    returning id into v_id;
    -- The insert's trigger has placed it as any other job; nobody has seen that yet.
    with moved as (
        delete from pgqueue.ready r where r.job_id = v_id
        returning r.job_id, r.queue, r.priority, r.job_type, r.flags, r.expires_at
    )
    insert into pgqueue.blocked (job_id, reason, waits_for, unique_key, run_at, queue, priority, job_type, flags, expires_at)
    select m.job_id, 'follow_up', p_holder, p_job.unique_key, p_job.run_at, m.queue, m.priority, m.job_type, m.flags, m.expires_at
    from moved m;
    if not found then
        -- A hook holds it back: so it does when the holder has finished.
        update pgqueue.blocked b set reason = 'follow_up', waits_for = p_holder, unique_key = p_job.unique_key where b.job_id = v_id;
    end if;
    if not found then
        with moved as (
            delete from pgqueue.scheduled s where s.job_id = v_id
            returning s.job_id, s.queue, s.priority, s.job_type, s.flags, s.expires_at
        )
        insert into pgqueue.blocked (job_id, reason, waits_for, unique_key, run_at, queue, priority, job_type, flags, expires_at)
        select m.job_id, 'follow_up', p_holder, p_job.unique_key, p_job.run_at, m.queue, m.priority, m.job_type, m.flags, m.expires_at
        from moved m;
    end if;
    return v_id;
end
$$;
revoke all on function pgqueue.insert_follow_up(pgqueue.jobs, uuid) from public;

-- Two payloads in one: arrays under the same key are appended, everything else is taken from the newer.
create or replace function pgqueue.merge_payloads(p_old jsonb, p_new jsonb)
returns jsonb
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
    select p_old || coalesce(jsonb_object_agg(k.key,
        case when jsonb_typeof(p_old -> k.key) = 'array' and jsonb_typeof(k.value) = 'array'
            then (p_old -> k.key) || k.value else k.value end), '{}')
    from jsonb_each(p_new) as k (key, value);
$$;
revoke all on function pgqueue.merge_payloads(jsonb, jsonb) from public;
