-- Counting the jobs of batches that finish, and what follows from the numbers. The protocol is told in batches.sql.

-- These jobs have finished, or (p_sign -1, before their row leaves finished) begin again: count them in their batches, and see
-- whether one is over.
create or replace function pgqueue.count_in_batches(p_job_ids uuid[], p_sign integer default 1)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_batch record;
    v_patient_until timestamptz := clock_timestamp() + interval '200 milliseconds';
begin
    for v_batch in
        with counted as (
            select j.batch_id, count(*) filter (where f.status in ('succeeded', 'partial')) as succeeded,
                count(*) filter (where f.status = 'failed') as failed, count(*) filter (where f.status = 'cancelled') as cancelled
            from pgqueue.jobs j
            cross join lateral (select x.status from pgqueue.finished x where x.job_id = j.id limit 1) f
            where j.id = any (p_job_ids) and j.batch_id is not null
            group by j.batch_id
        ), logged as (
            insert into pgqueue.batch_log (batch_id, succeeded, failed, cancelled)
            select c.batch_id, p_sign * c.succeeded, p_sign * c.failed, p_sign * c.cancelled from counted c
        )
        select c.batch_id, c.succeeded + c.failed + c.cancelled as jobs, c.failed + c.cancelled > 0 as bad
        from counted c
        order by c.batch_id
    loop
        perform pgqueue.look_at_batch(v_batch.batch_id, v_batch.jobs, v_batch.bad, clock_timestamp() < v_patient_until);
    end loop;
end
$$;
revoke all on function pgqueue.count_in_batches(uuid[], integer) from public;

-- The caller has appended to this batch's log: is there anything to settle? The numbers are a hint (log_floor): settle_batch() decides.
-- Others who finish jobs of it at this moment do not show yet. As many as 64, and ten reports as large as this one, could be the rest
-- of a batch: then look again under its lock. The rest is left to merge_batches(), and so is a large batch that is far from its end.
create or replace function pgqueue.look_at_batch(p_batch_id uuid, p_jobs bigint, p_bad boolean, p_patient boolean)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_batch pgqueue.batches;
    v_left bigint;
    v_rows bigint;
    v_due boolean;
begin
    select b.* into v_batch from pgqueue.batches b where b.id = p_batch_id;
    v_due := p_bad and v_batch.on_failure is not null and v_batch.failure_job_id is null or v_batch.finished_at is not null;
    if not v_due and (v_batch.closed_at is null
        or v_batch.total - v_batch.succeeded - v_batch.failed - v_batch.cancelled > 10000)
    then
        return;
    end if;
    for v_turn in 1..2 loop
        if not v_due then
            select v_batch.total - v_batch.succeeded - v_batch.failed - v_batch.cancelled
                    + coalesce(sum(l.added - l.succeeded - l.failed - l.cancelled), 0), count(*)
            into v_left, v_rows
            from pgqueue.batch_log l where l.batch_id = p_batch_id and l.id >= v_batch.log_floor;
            v_due := v_left <= 0 or v_rows >= 200;
        end if;
        exit when v_due and v_turn = 2;
        if not v_due and (v_turn = 2 or v_left > 64 + 10 * p_jobs) then
            return;
        end if;
        if not pg_try_advisory_xact_lock(7067008, hashtext(p_batch_id::text))
            and not (p_patient and pgqueue.wait_for_batch(p_batch_id))
        then
            return;
        end if;
        select b.* into v_batch from pgqueue.batches b where b.id = p_batch_id;
    end loop;
    begin
        perform pgqueue.settle_batch(p_batch_id);
    exception when others then
        -- What stands in the way of a callback must not stand in the way of a job's end: the log is still there for merge_batches().
        raise warning 'pgqueue: batch % is settled later: % (SQLSTATE %)', p_batch_id, sqlerrm, sqlstate;
    end;
end
$$;
revoke all on function pgqueue.look_at_batch(uuid, bigint, boolean, boolean) from public;

-- Wait for the lock of a batch, 100 ms at most: less than deadlock_timeout. False = somebody holds it still. Once in vain per statement:
-- expire() and others finish one job after another, and each of them would wait again.
create or replace function pgqueue.wait_for_batch(p_batch_id uuid)
returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
set lock_timeout = '100ms'
as $$
begin
    if current_setting('pgqueue.waited_in_vain', true) = extract(epoch from statement_timestamp())::text then
        return false;
    end if;
    perform pg_advisory_xact_lock(7067008, hashtext(p_batch_id::text));
    return true;
exception when lock_not_available or deadlock_detected then
    perform set_config('pgqueue.waited_in_vain', extract(epoch from statement_timestamp())::text, true);
    return false;
end
$$;
revoke all on function pgqueue.wait_for_batch(uuid) from public;

-- Merge the log of a batch into its row, and enqueue what is to follow. The caller holds the batch's lock. log_floor stays 1,000 behind:
-- rows with lower ids may commit later.
create or replace function pgqueue.settle_batch(p_batch_id uuid)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_batch pgqueue.batches;
begin
    with gone as (
        delete from pgqueue.batch_log l where l.batch_id = p_batch_id returning l.*
    ), news as (
        select coalesce(sum(g.added), 0) as added, coalesce(sum(g.succeeded), 0) as succeeded, coalesce(sum(g.failed), 0) as failed,
            coalesce(sum(g.cancelled), 0) as cancelled, coalesce(max(g.id), 0) as id
        from gone g
    )
    update pgqueue.batches b
    set total = b.total + n.added,
        succeeded = b.succeeded + n.succeeded,
        failed = b.failed + n.failed,
        cancelled = b.cancelled + n.cancelled,
        log_floor = greatest(b.log_floor, n.id - 1000),
        finished_at = case
            when b.closed_at is not null
                and b.total + n.added = b.succeeded + n.succeeded + b.failed + n.failed + b.cancelled + n.cancelled
            then coalesce(b.finished_at, clock_timestamp()) end
    from news n
    where b.id = p_batch_id
    returning b.* into v_batch;

    if v_batch.failed + v_batch.cancelled > 0 then
        perform pgqueue.call_back(v_batch, 'failure', v_batch.on_failure, v_batch.failure_job_id);
    elsif v_batch.finished_at is not null then
        perform pgqueue.call_back(v_batch, 'success', v_batch.on_success, v_batch.success_job_id);
    end if;
    if v_batch.finished_at is not null then
        perform pgqueue.call_back(v_batch, 'complete', v_batch.on_complete, v_batch.complete_job_id);
    end if;
end
$$;
revoke all on function pgqueue.settle_batch(uuid) from public;

-- Enqueue one of the three jobs, unless it has been. One that is refused for good (unknown type, limits) is written down in refused.
-- One that a quota or a wallet refuses today stays due, and stops neither the numbers nor the others: an empty row of the log brings
-- merge_batches() back to it.
create or replace function pgqueue.call_back(p_batch pgqueue.batches, p_event text, p_job jsonb, p_job_id uuid)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_id uuid;
begin
    if p_job is null or p_job_id is not null or p_batch.refused ? p_event then
        return;
    end if;
    begin
        select i.id into v_id
        from pgqueue.insert_many(jsonb_build_array(p_job || jsonb_build_object('headers', coalesce(nullif(p_job -> 'headers', 'null'), '{}')
            || jsonb_build_object('batch_id', p_batch.id, 'batch_event', p_event))), 'ignore', p_batch.tenant_id) i;
        update pgqueue.batches b
        set success_job_id = case p_event when 'success' then v_id else b.success_job_id end,
            failure_job_id = case p_event when 'failure' then v_id else b.failure_job_id end,
            complete_job_id = case p_event when 'complete' then v_id else b.complete_job_id end
        where b.id = p_batch.id;
    exception when sqlstate 'PQ008' or sqlstate 'PQ009' then
        raise warning 'pgqueue: on_% of batch % comes later: % (SQLSTATE %)', p_event, p_batch.id, sqlerrm, sqlstate;
        insert into pgqueue.batch_log (batch_id) values (p_batch.id);
    when data_exception or integrity_constraint_violation or program_limit_exceeded or raise_exception or sqlstate 'PQ006' then
        update pgqueue.batches b set refused = b.refused || jsonb_build_object(p_event, sqlerrm) where b.id = p_batch.id;
    end;
end
$$;
revoke all on function pgqueue.call_back(pgqueue.batches, text, jsonb, uuid) from public;

-- Merge the logs of up to p_limit batches; returns how many. Skips those whose lock somebody holds. One that fails warns, and is
-- tried again at the next call.
create or replace function pgqueue.merge_batches(p_limit integer default 1000)
returns bigint
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_id uuid;
    v_merged bigint := 0;
begin
    if not pg_try_advisory_xact_lock(7067004, 6) then
        return 0;
    end if;
    for v_id in select distinct l.batch_id from pgqueue.batch_log l order by l.batch_id limit p_limit loop
        begin
            if pg_try_advisory_xact_lock(7067008, hashtext(v_id::text)) then
                perform pgqueue.settle_batch(v_id);
                v_merged := v_merged + 1;
            end if;
        exception when others then
            raise warning 'pgqueue: batch % cannot be settled: % (SQLSTATE %)', v_id, sqlerrm, sqlstate;
        end;
    end loop;
    return v_merged;
end
$$;
revoke all on function pgqueue.merge_batches(integer) from public;

-- Forget batches that finished before the retention of the settings and of which no job is left.
create or replace function pgqueue.forget_batches(p_limit integer default 1000)
returns bigint
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_forgotten bigint;
begin
    delete from pgqueue.batches b
    where b.id = any (array(
        select x.id from pgqueue.batches x
        where x.finished_at < clock_timestamp() - least(interval '1000 years', (select s.retention from pgqueue.settings s))
            and not exists (select from pgqueue.jobs j where j.batch_id = x.id)
            and not exists (select from pgqueue.batch_log l where l.batch_id = x.id)
        order by x.finished_at
        limit p_limit
        for update skip locked));
    get diagnostics v_forgotten = row_count;
    return v_forgotten;
end
$$;
revoke all on function pgqueue.forget_batches(integer) from public;
