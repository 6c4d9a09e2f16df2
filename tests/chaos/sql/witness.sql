-- The second witness, in test installs only: every place that a job enters, as the database saw it.
--
-- One row per INSERT into a state table. A job's rows are written under its locks, and a sequence is
-- not rolled back, so ordered by seq a job's rows are in commit order; so are those of one unique key.
-- What a rolled-back transaction wrote is not there, which is the point.

create schema chaos;

create table chaos.log (
    seq bigint generated always as identity primary key,
    job uuid not null,
    entered text not null,  -- ready, scheduled, blocked, running, finished, attempt, key, unkey, order
    detail text,            -- status, outcome, reason, key or gate
    token bigint,
    worker bigint,
    attempt integer,
    until timestamptz,      -- scheduled: due; running: when it started; attempt: when the lease of its worker ends
    xid xid8 not null default pg_current_xact_id(),
    clock timestamptz not null default clock_timestamp()
);

-- What handlers write through the transaction that they are given.
create table chaos.ledger (
    job uuid not null,
    token bigint not null,
    xid xid8 not null default pg_current_xact_id(),
    clock timestamptz not null default clock_timestamp()
);

create function chaos.witness() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    case tg_argv[0]
        when 'ready' then
            insert into chaos.log (job, entered, attempt) select e.job_id, 'ready', e.attempts from entered e;
        when 'scheduled' then
            insert into chaos.log (job, entered, detail, attempt, until)
            select e.job_id, 'scheduled', e.reason, e.attempts, e.due_at from entered e;
        when 'blocked' then
            insert into chaos.log (job, entered, detail) select e.job_id, 'blocked', e.reason from entered e;
        when 'running' then
            insert into chaos.log (job, entered, token, worker, attempt, until)
            select e.job_id, 'running', e.token, e.worker_id, e.attempt, e.started_at from entered e;
        when 'finished' then
            insert into chaos.log (job, entered, detail, token, worker, attempt)
            select e.job_id, 'finished', e.status, e.token, e.worker_id, e.attempt from entered e;
        when 'attempts' then
            insert into chaos.log (job, entered, detail, token, worker, attempt, until)
            select e.job_id, 'attempt', e.outcome, e.token, e.worker_id, e.attempt, w.heartbeat_at + w.lease
            from entered e left join pgqueue.workers w on w.id = e.worker_id;
    end case;
    return null;
end
$$;

create function chaos.witness_key() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if tg_op = 'UPDATE' and old.unique_key is not null then
        insert into chaos.log (job, entered, detail) values (old.id, 'unkey', old.unique_key);
    end if;
    if new.unique_key is not null then
        insert into chaos.log (job, entered, detail) values (new.id, 'key', new.unique_key);
    end if;
    return null;
end
$$;

do $$
declare
    v_table text;
begin
    foreach v_table in array array['ready', 'scheduled', 'blocked', 'running', 'finished', 'attempts'] loop
        execute format('create trigger chaos_witness after insert on pgqueue.%I referencing new table as entered
            for each statement execute function chaos.witness(%L)', v_table, v_table);
    end loop;
end
$$;
create trigger chaos_witness_inserted after insert on pgqueue.jobs
    for each row when (new.unique_key is not null) execute function chaos.witness_key();
create trigger chaos_witness_updated after update of unique_key on pgqueue.jobs
    for each row when (old.unique_key is distinct from new.unique_key) execute function chaos.witness_key();

-- A job gets its place in the order of its key: token = which.
create function chaos.witness_order() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    insert into chaos.log (job, entered, detail, token) values (new.job_id, 'order', new.gate, new.seq);
    return null;
end
$$;
create trigger chaos_witness after insert on pgqueue.ordered_jobs
    for each row execute function chaos.witness_order();

-- Who does what: nobody but the harness is a superuser.
create role chaos_producer login;
create role chaos_worker login;
create role chaos_operator login;
grant pgqueue_producer to chaos_producer;
grant pgqueue_worker to chaos_worker;
grant pgqueue_operator to chaos_operator;
grant usage on schema chaos to chaos_worker;
grant insert, select on chaos.ledger to chaos_worker;
