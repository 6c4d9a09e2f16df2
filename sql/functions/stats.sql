-- Statistics: finished attempts per minute, type, queue, worker, outcome and bucket. Views read these, never history.

-- Fold stats_log into the minutes of stats; fold minutes older than three hours into hours without workers; forget hours
-- older than a year. Safe to repeat; one caller at a time.
create or replace function pgqueue.merge_stats(p_limit integer default 50000)
returns bigint
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_merged bigint;
begin
    if not pg_try_advisory_xact_lock(7067004, 4) then
        return 0;
    end if;
    with taken as (
        delete from pgqueue.stats_log l
        where l.ctid = any (array(select x.ctid from pgqueue.stats_log x limit p_limit for update skip locked))
        returning *
    ), folded as (
        insert into pgqueue.stats as s (span, starts_at, job_type, queue, worker_id, outcome, wait_bucket, run_bucket,
            jobs, wait_seconds, run_seconds)
        select 'minute', t.minute, t.job_type, t.queue, t.worker_id, t.outcome, t.wait_bucket, t.run_bucket,
            sum(t.jobs), sum(t.wait_seconds::double precision), sum(t.run_seconds::double precision)
        from taken t
        group by t.minute, t.job_type, t.queue, t.worker_id, t.outcome, t.wait_bucket, t.run_bucket
        on conflict (span, starts_at, job_type, queue, worker_id, outcome, wait_bucket, run_bucket) do update set
            jobs = s.jobs + excluded.jobs,
            wait_seconds = s.wait_seconds + excluded.wait_seconds,
            run_seconds = s.run_seconds + excluded.run_seconds
    )
    select count(*) into v_merged from taken;

    -- In UTC: callers in zones of half hours must not cut other hours.
    if exists (select from pgqueue.stats s where s.span = 'minute' and s.starts_at < date_trunc('hour', now() - interval '3 hours', 'UTC')) then
        with taken as (
            delete from pgqueue.stats s
            where s.ctid = any (array(
                select x.ctid from pgqueue.stats x
                where x.span = 'minute' and x.starts_at < date_trunc('hour', now() - interval '3 hours', 'UTC')
                order by x.starts_at limit p_limit))
            returning *
        )
        insert into pgqueue.stats as s (span, starts_at, job_type, queue, worker_id, outcome, wait_bucket, run_bucket,
            jobs, wait_seconds, run_seconds)
        select 'hour', date_trunc('hour', t.starts_at, 'UTC'), t.job_type, t.queue, null, t.outcome, t.wait_bucket, t.run_bucket,
            sum(t.jobs), sum(t.wait_seconds), sum(t.run_seconds)
        from taken t
        group by date_trunc('hour', t.starts_at, 'UTC'), t.job_type, t.queue, t.outcome, t.wait_bucket, t.run_bucket
        on conflict (span, starts_at, job_type, queue, worker_id, outcome, wait_bucket, run_bucket) do update set
            jobs = s.jobs + excluded.jobs,
            wait_seconds = s.wait_seconds + excluded.wait_seconds,
            run_seconds = s.run_seconds + excluded.run_seconds;
        delete from pgqueue.stats s where s.span = 'hour' and s.starts_at < now() - interval '1 year';
    end if;
    return v_merged;
end
$$;
revoke all on function pgqueue.merge_stats(integer) from public;
