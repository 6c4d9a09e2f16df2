-- What the benchmark runs beside the functions of the schema. Each text is named by the line above it and loaded by
-- pgqueue/bench/queries.py; names that begin with script_ are scripts for pgbench.

-- name: server
select current_setting('server_version'), current_setting('max_connections')::integer,
    (select count(*)::integer from pg_stat_activity where backend_type = 'client backend'), pg_backend_pid(),
    inet_server_addr() is null or inet_server_addr() = inet_client_addr();

-- name: settings
select s.name, current_setting(s.name) from pg_settings s where s.name = any (%s) order by s.name;

-- name: has_schema
select to_regnamespace('pgqueue') is not null or to_regnamespace('pgqueue_bench') is not null;

-- name: install
create schema pgqueue_bench;
create table pgqueue_bench.plain (like pgqueue.jobs including defaults);
alter table pgqueue_bench.plain add primary key (id);
-- The n-th id of those that fill a table: of version 7, from the year 2024, so that new ones come behind them.
create function pgqueue_bench.id(p_table text, p_n bigint) returns uuid immutable language sql
return ('018d0000-' || case p_table when 'ready' then '0001' when 'scheduled' then '0002' else '0003' end
    || '-7000-8000-' || lpad(to_hex(p_n), 12, '0'))::uuid;
-- As a worker that has started once leaves it: jobs of a type that nobody has registered are routed the long way.
select pgqueue.set_job_type('bench_noop', p_operator_managed => false);
select pgqueue.set_job_type('bench_stamp', p_operator_managed => false);
create table pgqueue_bench.effects (job_id uuid primary key, note text not null);

-- name: uninstall
drop schema if exists pgqueue_bench cascade;
drop schema if exists pgqueue cascade;

-- name: checkpoint
checkpoint;

-- name: clock
select extract(epoch from clock_timestamp())::double precision;

-- name: counters
select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::double precision,
    (select d.xact_commit::double precision from pg_stat_database d where d.datname = current_database()),
    (select s.last_value - (not s.is_called)::integer from pgqueue.token_seq s)::double precision,
    (select i.heap_blks_hit + i.heap_blks_read + i.idx_blks_hit + i.idx_blks_read
        from pg_statio_user_tables i where i.relid = 'pgqueue.ready'::regclass)::double precision;

-- name: unfinished
select exists (select from pgqueue.ready) or exists (select from pgqueue.running) or exists (select from pgqueue.scheduled);

-- name: finished
select count(*), min(extract(epoch from f.started_at))::double precision, max(extract(epoch from f.finished_at))::double precision
from pgqueue.finished f where f.job_type = %s and f.status = 'succeeded' and f.finished_at > to_timestamp(%s);

-- name: data_directory
select current_setting('data_directory');

-- name: count_jobs
select count(*) from pgqueue.jobs;

-- name: count_plain
select count(*) from pgqueue_bench.plain;

-- name: enqueue_noops
insert into pgqueue.jobs (job_type, payload) select 'bench_noop', '{"n": 1}' from generate_series(1, %s);

-- name: insert_stamp
insert into pgqueue.jobs (job_type, payload) values ('bench_stamp', jsonb_build_object('sent', %s::double precision));

-- name: notify_stamp
with stored as (
    insert into pgqueue_bench.plain (job_type, payload) values ('bench_stamp', jsonb_build_object('sent', %s::double precision))
    returning payload
)
select pg_notify('pgqueue_bench', payload ->> 'sent') from stored;

-- name: take_plain
delete from pgqueue_bench.plain p
where p.ctid = any (array(select t.ctid from pgqueue_bench.plain t order by t.id limit 100 for update skip locked))
returning (p.payload ->> 'sent')::double precision;

-- name: listen
listen pgqueue_bench;

-- name: live_workers
select count(*) from pgqueue.worker_status w where w.status = 'alive';

-- name: doors
select count(*) from pg_locks l where l.locktype = 'advisory' and l.mode = 'ExclusiveLock' and l.granted
    and l.classid in (7067001, 7067002) and l.database = (select d.oid from pg_database d where d.datname = current_database());

-- name: effect
insert into pgqueue_bench.effects (job_id, note) values (%s, 'done');

-- name: many_plain
select jsonb_agg(jsonb_build_object('job_type', 'bench_noop', 'payload', '{"n": 1}'::jsonb)) from generate_series(1, %s);

-- name: enqueue_many
select count(*) from pgqueue.enqueue_many(%s);

-- name: enqueue_many_keyed
select count(*) from pgqueue.enqueue_many((
    select jsonb_agg(jsonb_build_object('job_type', 'bench_heavy', 'unique_key', 'key ' || n, 'payload',
        jsonb_build_object('n', n, 'text', repeat('x', 200))))
    from generate_series(%s::bigint, %s::bigint) n));

-- name: copy_plain
copy pgqueue_bench.plain (job_type, payload) from stdin;

-- name: copy_jobs
copy pgqueue.jobs (job_type, payload) from stdin;

-- name: hold_read_only
begin isolation level repeatable read;
select count(*) from pgqueue.settings;

-- name: hold_xid
begin isolation level repeatable read;
select count(*) from pgqueue.settings;
select pg_current_xact_id();

-- name: rollback
rollback;

-- name: routing_off
alter table pgqueue.jobs disable trigger user;

-- name: routing_on
alter table pgqueue.jobs enable trigger user;

-- name: fill_jobs
insert into pgqueue.jobs (id, job_type, payload, run_at)
select pgqueue_bench.id(%(table)s, n), 'bench_noop', '{"n": 1}',
    case when %(table)s = 'scheduled' then now() + interval '1 day' + n * interval '1 millisecond' end
from generate_series(%(first)s::bigint, %(last)s::bigint) n;

-- name: fill_ready
insert into pgqueue.ready (job_id, queue, priority, job_type)
select pgqueue_bench.id('ready', n), 'default', 1, 'bench_noop'
from generate_series(%(first)s::bigint, %(last)s::bigint) n;

-- name: fill_scheduled
insert into pgqueue.scheduled (job_id, due_at, reason, queue, priority, job_type)
select pgqueue_bench.id('scheduled', n), now() + interval '1 day' + n * interval '1 millisecond', 'run_at', 'default', 1, 'bench_noop'
from generate_series(%(first)s::bigint, %(last)s::bigint) n;

-- name: fill_finished
insert into pgqueue.finished (job_id, status, job_type, queue, token, attempt, worker_id, ready_at, started_at, finished_at)
select pgqueue_bench.id('finished', n), 'succeeded', 'bench_noop', 'default', nextval('pgqueue.token_seq'), 1, 1,
    clock_timestamp(), clock_timestamp(), clock_timestamp()
from generate_series(%(first)s::bigint, %(last)s::bigint) n;

-- name: vacuum
vacuum (analyze) pgqueue.jobs, pgqueue.ready, pgqueue.scheduled, pgqueue.finished;

-- name: insert_one
insert into pgqueue.jobs (job_type, payload) values ('bench_noop', '{"n": 1}');

-- name: explain_claim
explain (analyze, buffers, format json) select * from pgqueue.claim(%s, '{default}', 100, null);

-- name: view_queue_stats
select * from pgqueue.queue_stats;

-- name: view_health
select * from pgqueue.health;

-- name: view_job_status
select * from pgqueue.job_status order by id desc limit 50;

-- name: script_insert_plain
insert into pgqueue_bench.plain (job_type, payload) values ('bench_noop', '{"n": 1}');

-- name: script_insert_plain_notify
with stored as (
    insert into pgqueue_bench.plain (job_type, payload) values ('bench_noop', '{"n": 1}') returning id
)
select pg_notify('pgqueue_bench', '1') from stored;

-- name: script_insert_jobs
insert into pgqueue.jobs (job_type, payload) values ('bench_noop', '{"n": 1}');

-- name: script_insert_stamp
insert into pgqueue.jobs (job_type, payload)
values ('bench_stamp', jsonb_build_object('sent', extract(epoch from clock_timestamp())));

-- name: script_values_plain
insert into pgqueue_bench.plain (job_type, payload) values VALUES;

-- name: script_values_jobs
insert into pgqueue.jobs (job_type, payload) values VALUES;

-- name: values
('bench_noop', '{"n": 1}')

-- name: script_select_plain
insert into pgqueue_bench.plain (job_type, payload) select 'bench_noop', '{"n": 1}' from generate_series(1, 100);

-- name: script_select_jobs
insert into pgqueue.jobs (job_type, payload) select 'bench_noop', '{"n": 1}' from generate_series(1, 100);

-- name: script_tenant_jobs
insert into pgqueue.jobs (job_type, payload, tenant_id) select 'bench_noop', '{"n": 1}', 'a' from generate_series(1, 100);

-- name: take_turns
select pgqueue.set_fairness('default');

-- name: set_quota
select pgqueue.set_tenant_quota('a', 10000000);

-- name: script_exchange
select coalesce(array_agg(e.job_id) filter (where e.refused is null), '{}')::text as ids,
    coalesce(array_agg(e.token) filter (where e.refused is null), '{}')::text as tokens,
    coalesce(max(e.pos) + 1, :floor::bigint) as floor
from pgqueue.exchange(:worker::bigint, '{default}', :batch, array[0, :floor::bigint, 0, 0], :ids::uuid[], :tokens::bigint[]) e \gset
