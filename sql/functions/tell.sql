-- Telling who asked, when jobs finish: after_finish() calls tell() in the transaction that finishes them, only for jobs
-- whose row names notify, feed or callback_url. Whoever is told can read the outcome: it commits together with the news.
--
--   notify        NOTIFY pgqueue_finished with the ids, joined by commas: a hint, lost when nobody listens. LISTEN first,
--                 then read pgqueue.job_status, then wait; again after each reconnect. Anybody can forge one: read, never trust.
--   feed          a row of pgqueue.completions, consumed by take_completions() and ack_completions()      feed.sql
--   callback_url  a job of type pgqueue.callback, which a worker with --callbacks delivers               callback.sql
-- Proved by tests/sql/test_tell.py.

-- p_job_ids: finished jobs of which each asked for something. One NOTIFY per batch: 200 ids make 7,399 of the 7,999 bytes that
-- a payload may have. None when the notification queue is half full: a full one would fail the COMMIT.
create or replace function pgqueue.tell(p_job_ids uuid[])
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if pg_notification_queue_usage() < 0.5 then
        perform pg_notify('pgqueue_finished', string_agg(x.id::text, ',' order by x.id))
        from (
            select j.id, (row_number() over (order by j.id) - 1) / 200 as part
            from pgqueue.jobs j where j.id = any (p_job_ids) and j.notify
        ) x
        group by x.part;
    end if;

    insert into pgqueue.completions (feed, tenant_id, job_id, job_type, status, finished_at)
    select j.feed, coalesce(j.tenant_id, ''), j.id, j.job_type, f.status, f.finished_at
    from pgqueue.jobs j
    cross join lateral (select x.status, x.finished_at from pgqueue.finished x where x.job_id = j.id limit 1) f
    where j.id = any (p_job_ids) and j.feed is not null
    order by j.id;

    if exists (select from pgqueue.jobs j where j.id = any (p_job_ids) and j.callback_url is not null) then
        perform pgqueue.enqueue_callbacks(p_job_ids);
    end if;
end
$$;
revoke all on function pgqueue.tell(uuid[]) from public;
