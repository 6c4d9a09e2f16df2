-- What can go wrong without an error message: one row per check. Status ok, warn, fail, or unknown when the role may not see
-- enough. Every check costs a few milliseconds at any size.

create or replace view pgqueue.health with (security_invoker = true) as
with lanes as materialized (
    select l.queue, l.ready_at, (q.paused_at is not null) as paused, q.paused_at
    from pgqueue.ready_lanes l
    left join pgqueue.queues q on q.queue = l.queue
), workers as materialized (
    select w.id, w.name, w.queues, w.dead_at, w.stopped_at is null and w.dead_at is null as open, w.heartbeat_at + w.lease as lease_until
    from pgqueue.workers w
), sessions as materialized (
    -- A snapshot keeps vacuum from removing what dies after it, in every table of the database.
    select extract(epoch from statement_timestamp() - a.xact_start) as seconds,
        format('pid %s, %s, %s, %s', a.pid, a.usename, coalesce(nullif(a.application_name, ''), '-'), a.state) as holder
    from pg_catalog.pg_stat_activity a
    where a.datname = current_database() and a.backend_xmin is not null and a.pid <> pg_backend_pid()
        and a.xact_start is not null
    order by a.xact_start
    limit 1
), prepared as materialized (
    select extract(epoch from statement_timestamp() - p.prepared) as seconds, format('%L, %s', p.gid, p.owner) as holder
    from pg_catalog.pg_prepared_xacts p
    where p.database = current_database()
    order by p.prepared
    limit 1
), slots as materialized (
    select age(s.xmin) as xids, format('%s, %s', s.slot_name, case when s.active then 'active' else 'inactive' end) as holder
    from pg_catalog.pg_replication_slots s
    where s.xmin is not null
    order by age(s.xmin) desc
    limit 1
), dead_rows as materialized (
    select t.relname, t.n_dead_tup, t.n_live_tup, pg_relation_size(t.relid) as bytes
    from pg_catalog.pg_stat_user_tables t
    where t.schemaname = 'pgqueue' and t.relname in ('ready', 'running', 'scheduled', 'blocked', 'stats_log', 'workers')
    order by t.n_dead_tup desc
    limit 1
), checks (number, name, status, value, hint) as (
    select 1, 'workers alive',
        case when exists (select from workers w where w.open and w.lease_until > statement_timestamp()) then 'ok'
            when exists (select from lanes l where not l.paused) then 'fail' else 'warn' end,
        (select count(*) from workers w where w.open and w.lease_until > statement_timestamp())::text,
        'Start a worker: pgqueue worker --app ...'
    union all
    select 2, 'workers dead within the hour',
        case when count(*) = 0 then 'ok' else 'warn' end,
        concat_ws(': ', count(*)::text, left(string_agg(w.name, ', ' order by w.id desc), 200)),
        'They stopped without saying goodbye: out of memory, killed, or cut off. select * from pgqueue.worker_status'
    from workers w
    where w.dead_at > statement_timestamp() - interval '1 hour' or (w.open and w.lease_until <= statement_timestamp())
    union all
    select 3, 'running jobs of dead workers',
        case when count(*) = 0 then 'ok' when min(coalesce(w.dead_at, w.lease_until)) > statement_timestamp() - interval '1 minute' then 'warn'
            else 'fail' end,
        count(*)::text,
        'A live worker takes them back within a second; by hand: select pgqueue.rescue()'
    from pgqueue.running u
    left join workers w on w.id = u.worker_id
    where w.id is null or not w.open or w.lease_until <= statement_timestamp()
    union all
    select 4, 'running jobs past their deadline',
        case when count(*) = 0 then 'ok' when bool_or(u.deadline_at + g.timeout_grace < statement_timestamp() - interval '1 minute') then 'fail'
            else 'warn' end,
        count(*)::text,
        'Their workers should have stopped them. After timeout_grace pgqueue.rescue() takes them back'
    from pgqueue.running u
    cross join (select x.timeout_grace from pgqueue.settings x limit 1) g
    where u.deadline_at < statement_timestamp()
    union all
    select 5, 'oldest ready job',
        case when max(statement_timestamp() - l.ready_at) > interval '10 minutes' then 'fail'
            when max(statement_timestamp() - l.ready_at) > interval '1 minute' then 'warn' else 'ok' end,
        coalesce(round(extract(epoch from max(statement_timestamp() - l.ready_at)))::text || ' s', 'none'),
        'Queues that are not paused. select * from pgqueue.queue_stats; select pgqueue.why_waiting(id)'
    from lanes l
    where not l.paused
    union all
    select 6, 'queues paused for more than an hour',
        case when count(distinct l.queue) = 0 then 'ok' else 'warn' end,
        concat_ws(': ', count(distinct l.queue)::text, left(string_agg(distinct l.queue, ', '), 200)),
        'They have jobs. select pgqueue.resume_queue(queue)'
    from lanes l
    where l.paused_at < statement_timestamp() - interval '1 hour'
    union all
    select 7, 'job types that nobody handles',
        case when count(*) = 0 then 'ok' else 'warn' end,
        concat_ws(': ', count(*)::text, left(string_agg(n.job_type, ', ' order by n.oldest_at), 200)),
        'select * from pgqueue.unhandled'
    from pgqueue.unhandled n
    union all
    select 8, 'scheduled jobs not promoted',
        case when late.seconds > 60 then 'fail' when late.seconds > 5 then 'warn' else 'ok' end,
        case when late.seconds > 0 then round(late.seconds, 1)::text || ' s late' else 'none' end,
        'Workers call pgqueue.maintain() every second; by hand: select * from pgqueue.maintain()'
    from (select extract(epoch from statement_timestamp() - min(s.due_at)) as seconds from pgqueue.scheduled s) late
    union all
    select 9, 'jobs that maintenance cannot move',
        case when count(*) = 0 then 'ok' else 'warn' end,
        concat_ws(': ', count(*)::text || case when count(*) = 1001 then ' or more' else '' end,
            left((array_agg(format('%s of %s, %s', f.part, f.job_id, f.error)))[1], 200)),
        'A trigger of the application refuses it? It is tried again every minute: select * from pgqueue.maintenance_failures'
    from (select x.part, x.job_id, x.error from pgqueue.maintenance_failures x limit 1001) f
    union all
    select 10, 'batches that nobody closes',
        case when count(*) = 0 then 'ok' else 'warn' end,
        concat_ws(': ', count(*)::text, left(string_agg(coalesce(b.name, b.id::text), ', ' order by b.created_at), 200)),
        'Open, all their jobs finished, and none added for a week: they are kept for ever. select pgqueue.close_batch(id); see pgqueue.batch_status'
    from (
        select x.id, x.name, x.created_at, x.total - x.succeeded - x.failed - x.cancelled as unfinished
        from pgqueue.batches x
        where x.closed_at is null and x.created_at < statement_timestamp() - interval '7 days'
        order by x.created_at
        limit 100
    ) b
    -- Ids are drawn in time.
    left join lateral (select j.created_at from pgqueue.jobs j where j.batch_id = b.id order by j.id desc limit 1) j on true
    where b.unfinished = 0 and (j.created_at is null or j.created_at < statement_timestamp() - interval '7 days')
        and not exists (select from pgqueue.batch_log l where l.batch_id = b.id)
    union all
    select 11, 'statistics not merged',
        case when count(*) > 50000 then 'fail' when count(*) > 10000 then 'warn' else 'ok' end,
        count(*)::text || case when count(*) = 50001 then ' or more' else '' end || ' rows',
        'Workers merge them every second; by hand: select pgqueue.merge_stats()'
    from (select from pgqueue.stats_log limit 50001) x
    union all
    select 12, 'oldest transaction',
        case when not pg_has_role('pg_read_all_stats', 'usage') then 'unknown'
            when s.seconds > 3600 then 'fail' when s.seconds > 600 then 'warn' else 'ok' end,
        case when s.seconds is null then 'none' else format('%s s: %s', round(s.seconds), s.holder) end,
        case when not pg_has_role('pg_read_all_stats', 'usage') then 'Grant this role pg_read_all_stats (or pg_monitor) to see the sessions of others'
            else 'Its snapshot keeps dead rows alive everywhere. pg_terminate_backend(pid); set idle_in_transaction_session_timeout' end
    from (select) one
    left join sessions s on true
    union all
    select 13, 'oldest prepared transaction',
        case when p.seconds > 600 then 'fail' when p.seconds > 60 then 'warn' else 'ok' end,
        case when p.seconds is null then 'none' else format('%s s: %s', round(p.seconds), p.holder) end,
        'Its snapshot and locks survive a restart. COMMIT PREPARED or ROLLBACK PREPARED'
    from (select) one
    left join prepared p on true
    union all
    select 14, 'replication slots that hold rows back',
        case when s.xids > 50000000 then 'fail' when s.xids > 1000000 then 'warn' else 'ok' end,
        case when s.xids is null then 'none' else format('%s transactions: %s', s.xids, s.holder) end,
        'A standby with hot_standby_feedback runs a long query, or is gone: pg_drop_replication_slot(name)'
    from (select) one
    left join slots s on true
    union all
    select 15, 'notify queue',
        case when pg_notification_queue_usage() >= 0.5 then 'fail' when pg_notification_queue_usage() >= 0.1 then 'warn' else 'ok' end,
        round(pg_notification_queue_usage()::numeric * 100, 1)::text || ' %',
        'A session that LISTENs sits in a long transaction. From 50 % on pgqueue wakes nobody and workers poll; at 100 % commits with NOTIFY fail'
    union all
    select 16, 'dead rows in a hot table',
        case when d.n_dead_tup > 1000000 then 'fail' when d.n_dead_tup > 100000 then 'warn' else 'ok' end,
        case when d.n_dead_tup > 0 then format('%s: %s dead, %s live, %s', d.relname, d.n_dead_tup, d.n_live_tup, pg_size_pretty(d.bytes))
            else 'none' end,
        'Autovacuum does not keep up, or a snapshot holds it back (see oldest transaction). vacuum pgqueue.' || coalesce(d.relname, 'ready')
    from (select) one
    left join dead_rows d on true
    union all
    select 17, 'server setting ' || s.name,
        case when s.setting = s.wanted then 'ok' else s.otherwise end,
        s.setting,
        s.hint
    from (
        values
            ('fsync', current_setting('fsync'), 'on', 'fail', 'A crash can lose committed jobs and corrupt the database'),
            ('full_page_writes', current_setting('full_page_writes'), 'on', 'fail',
                'A crash can corrupt the database, unless the file system never tears a page'),
            ('synchronous_commit', case when current_setting('synchronous_commit') = 'off' then 'off' else 'on' end, 'on', 'fail',
                'A crash can lose jobs whose insert had committed; as this session sees it'),
            ('autovacuum', current_setting('autovacuum'), 'on', 'fail', 'Dead rows pile up and claims slow down'),
            ('track_counts', current_setting('track_counts'), 'on', 'fail', 'Autovacuum does nothing without it')
    ) as s (name, setting, wanted, otherwise, hint)
)
select c.name::text as "check", c.status::text as status, c.value::text as value,
    case when c.status <> 'ok' then c.hint end::text as hint
from checks c
order by c.number, c.name;

comment on view pgqueue.health is 'One row per check. Look at those whose status is not ok: select * from pgqueue.health where status <> ''ok''.';
comment on column pgqueue.health."check" is 'What is checked.';
comment on column pgqueue.health.status is 'ok, warn, fail (the promise or the speed is broken now), or unknown (this role may not see it).';
comment on column pgqueue.health.value is 'What was found.';
comment on column pgqueue.health.hint is 'What to do about it; null when ok.';
