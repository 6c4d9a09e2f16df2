-- The inbox: the second door to pgqueue.jobs, for clients that send strings and cannot send "default".
--
-- Npgsql, Dapper and EF send a C# string as text, which PostgreSQL does not assign to jsonb (42804); an object mapper sends
-- every property, also those nobody has set. So here payload and headers are text, and NULL and the CLR's zero values
-- mean default: '' (but for job_type), 0 attempts, a timeout of 0, the nil UUID, -infinity (default(DateTime)) and the year 1.
-- priority 0 is high, as in pgqueue.jobs: declare that property as short?.
-- A duplicate (id, idempotency_key, unique_key) is no error: RETURNING gives the id of the job that serves the request,
-- inserted = false and its status. Refusals carry the names of the constraints of pgqueue.jobs.
-- Proved by tests/sql/test_inbox.py and tests/sql/test_wire.py.

-- INSTEAD OF INSERT, per row. Security definer: the caller may insert here and nowhere else; check_enqueue() holds the
-- tenant. Jobs without id and keys skip insert_one(): 110 microseconds instead of 128, beside 96 for INSERT into jobs. A
-- row is a statement of its own here: 10,000 rows in one INSERT cost 104 each, and 10 each in pgqueue.jobs.
create or replace function pgqueue.inbox_inserted()
returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_job pgqueue.jobs;
    v_on_duplicate text := coalesce(nullif(new.on_duplicate, ''), 'ignore');
begin
    v_job.tenant_id := pgqueue.check_enqueue(v_on_duplicate, nullif(new.tenant_id, ''));
    v_job.id := nullif(new.id, '00000000-0000-0000-0000-000000000000');
    v_job.job_type := new.job_type;
    v_job.queue := nullif(new.queue, '');
    v_job.priority := coalesce(new.priority, 1);
    v_job.payload := coalesce(nullif(new.payload, ''), '{}')::jsonb;
    v_job.run_at := case when new.run_at >= '0001-01-03 00:00:00+00' then new.run_at end;
    v_job.expires_at := case when new.expires_at >= '0001-01-03 00:00:00+00' then new.expires_at end;
    v_job.max_attempts := nullif(new.max_attempts, 0);
    v_job.timeout := nullif(new.timeout, '0');
    v_job.idempotency_key := nullif(new.idempotency_key, '');
    v_job.unique_key := nullif(new.unique_key, '');
    v_job.headers := nullif(nullif(new.headers, '')::jsonb, 'null');
    v_job.notify := nullif(new.notify, false);
    v_job.feed := nullif(new.feed, '');
    v_job.callback_url := nullif(new.callback_url, '');
    v_job.depends_on := nullif(new.depends_on, '{}');
    v_job.on_parent_failure := nullif(new.on_parent_failure, '');
    v_job.concurrency_key := nullif(new.concurrency_key, '');
    v_job.ordering_key := nullif(new.ordering_key, '');
    v_job.ordering_on_failure := nullif(new.ordering_on_failure, '');
    v_job.batch_id := nullif(new.batch_id, '00000000-0000-0000-0000-000000000000');
    v_job.deadline_at := case when new.deadline_at >= '0001-01-03 00:00:00+00' then new.deadline_at end;

    if v_job.id is null and v_job.idempotency_key is null and v_job.unique_key is null then
        insert into pgqueue.jobs (job_type, queue, priority, payload, run_at, expires_at, max_attempts, timeout, tenant_id, headers,
            notify, feed, callback_url, depends_on, on_parent_failure, concurrency_key, ordering_key, ordering_on_failure, batch_id, deadline_at)
        values (v_job.job_type, v_job.queue, v_job.priority, v_job.payload, v_job.run_at, v_job.expires_at, v_job.max_attempts,
            v_job.timeout, v_job.tenant_id, v_job.headers, v_job.notify, v_job.feed, v_job.callback_url, v_job.depends_on, v_job.on_parent_failure,
            v_job.concurrency_key, v_job.ordering_key, v_job.ordering_on_failure,
            v_job.batch_id, v_job.deadline_at)
        returning id into new.id;
        new.inserted := true;
    else
        select i.id, i.inserted into new.id, new.inserted from pgqueue.insert_one(v_job, v_on_duplicate) i;
    end if;
    new.priority := v_job.priority;
    -- An on_duplicate follow-up is inserted and blocked at once: ask. So is every duplicate.
    if new.inserted and v_on_duplicate = 'ignore' and v_job.depends_on is null then
        new.status := case when v_job.run_at > clock_timestamp() then 'scheduled' else 'queued' end;
    else
        new.status := (select s.status from pgqueue.job_status s where s.id = new.id);
    end if;
    return new;
end
$$;
revoke all on function pgqueue.inbox_inserted() from public;
