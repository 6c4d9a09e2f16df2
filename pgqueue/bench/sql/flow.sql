-- What the workload flow runs: how a feature is configured for the jobs that are measured (use_), for others (others_), and the statements of a
-- job's life, a hundred jobs at a time. Loaded with queries.sql.

-- name: flow_prepare
select pgqueue.set_job_type('bench_other', p_operator_managed => false);
-- In both databases, so that indexes are as deep: what others have waiting.
insert into pgqueue.jobs (job_type, queue) select 'bench_other', 'other' from generate_series(1, 1000);
create function pgqueue_bench.hook(p_event text, p_job_ids uuid[]) returns uuid[] language plpgsql
    set search_path = pg_catalog, pg_temp as 'begin return null; end';
do $$
declare
    v_owner name := (select pg_get_userbyid(n.nspowner) from pg_namespace n where n.nspname = 'pgqueue');
begin
    -- A hook belongs to the owner of the schema pgqueue, or it is refused.
    execute format('grant usage, create on schema pgqueue_bench to %I', v_owner);
    execute format('alter function pgqueue_bench.hook(text, uuid[]) owner to %I', v_owner);
end
$$;

-- name: flush_counters
select pg_stat_force_next_flush();

-- name: work_counters
select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::double precision, (d.blks_hit + d.blks_read)::double precision
from pg_stat_database d where d.datname = current_database();

-- name: head
select coalesce(min(r.pos), 0) from pgqueue.ready r where r.queue = 'default' and r.pos > 0;

-- name: claim_batch
select count(*), coalesce(array_agg(c.job_id)::text, '{}'), coalesce(array_agg(c.token)::text, '{}')
from pgqueue.claim(%s, '{default}', %s, array_fill(%s::bigint, array[4])) c;

-- name: report_batch
select count(*) from pgqueue.report(%s::uuid[], %s::bigint[]);

-- name: maintain
select pgqueue.maintain();

-- name: insert_plain
insert into pgqueue.jobs (job_type, payload) select 'bench_noop', '{"n": 1}' from generate_series(1, 100);

-- name: insert_concurrency_keys
insert into pgqueue.jobs (job_type, payload, concurrency_key) select 'bench_noop', '{"n": 1}', 'key ' || n from generate_series(1, 100) n;

-- name: insert_ordering_keys
insert into pgqueue.jobs (job_type, payload, ordering_key) select 'bench_noop', '{"n": 1}', 'key ' || n from generate_series(1, 100) n;

-- name: insert_tenants
insert into pgqueue.jobs (job_type, payload, tenant_id) select 'bench_noop', '{"n": 1}', 'tenant ' || n % 10 from generate_series(1, 100) n;

-- name: insert_headers
insert into pgqueue.jobs (job_type, payload, headers) select 'bench_noop', '{"n": 1}', '{"customer": "bench"}' from generate_series(1, 100);

-- name: insert_low
insert into pgqueue.jobs (job_type, payload, priority) select 'bench_noop', '{"n": 1}', 3 from generate_series(1, 100);

-- name: insert_in_batch
insert into pgqueue.jobs (job_type, payload, batch_id)
select 'bench_noop', '{"n": 1}', b.id from (select x.id from pgqueue.batches x where x.name = 'bench') b cross join generate_series(1, 100);

-- name: insert_dependents
with pair as materialized (
    select pgqueue.uuid_v7() as parent, pgqueue.uuid_v7() as child from generate_series(1, 50)
)
insert into pgqueue.jobs (id, job_type, payload, depends_on)
select p.parent, 'bench_noop', '{"n": 1}'::jsonb, null::uuid[] from pair p
union all
select p.child, 'bench_noop', '{"n": 1}', array[p.parent] from pair p;

-- name: schedules_due
update pgqueue.schedules s set next_tick_at = clock_timestamp() - interval '1 second' where s.job_type = 'bench_noop';

-- name: run_schedules
do $$
begin
    -- A call stops after a second.
    loop
        exit when (select r.enqueued from pgqueue.run_schedules(100) r) = 0;
    end loop;
end
$$;

-- name: long_waiting
update pgqueue.ready r set ready_at = r.ready_at - interval '1 day' where r.queue = 'default';

-- name: age_waiting
select pgqueue.age_waiting();

-- name: pause_batch
select count(*) from pgqueue.report(%s::uuid[], %s::bigint[], array_fill('{"do": "pause_until", "signal": "go"}'::text, array[100]));

-- name: signal_batch
select count(pgqueue.signal(u.id, 'go')) from unnest(%s::uuid[]) as u (id);

-- name: use_schedules
select pgqueue.set_schedule('bench ' || n, '0 4 * * *', 'bench_noop', '{"n": 1}') from generate_series(1, 100) n;

-- name: use_type_limit
select pgqueue.set_limit('job_type', 'bench_noop', p_max_running => 10000);

-- name: use_queue_limit
select pgqueue.set_limit('queue', 'default', p_max_running => 10000);

-- name: use_key_limit
select pgqueue.set_limit('key', 'bench_noop', p_max_running => 1);

-- name: use_rate
select pgqueue.set_limit('job_type', 'bench_noop', p_rate_jobs => 1000000, p_rate_interval => '1 second', p_rate_burst => 1000000);

-- name: use_turns
select pgqueue.set_fairness('default');

-- name: use_quotas
select pgqueue.set_tenant_quota('tenant ' || n, 1000000) from generate_series(0, 9) n;

-- name: use_batch
select pgqueue.open_batch('bench');

-- name: use_hook
select pgqueue.set_hook('bench_noop', 'pgqueue_bench.hook');

-- name: use_prices
select metering.set_customer('bench'), metering.deposit('bench', 'EUR', 1000000000), metering.set_price('bench_noop', 1, 'EUR');

-- name: use_aging
select pgqueue.set_settings(p_aging => '1 hour');

-- name: others_schedules
select pgqueue.set_schedule('other ' || n, '0 4 29 2 *', 'bench_other') from generate_series(1, 1000) n;

-- name: others_type_limit
select pgqueue.set_limit('job_type', 'bench_other', p_max_running => 1);

-- name: others_queue_limit
select pgqueue.set_limit('queue', 'other', p_max_running => 1);

-- name: others_key_limit
select pgqueue.set_limit('key', 'bench_other', p_max_running => 1);
insert into pgqueue.jobs (job_type, queue, concurrency_key) select 'bench_other', 'other', 'key ' || n from generate_series(1, 1000) n;

-- name: others_rate
select pgqueue.set_limit('job_type', 'bench_other', p_rate_jobs => 1, p_rate_interval => '1 hour');

-- name: others_order
insert into pgqueue.jobs (job_type, queue, ordering_key) select 'bench_other', 'other', 'key ' || n from generate_series(1, 1000) n;

-- name: others_turns
select pgqueue.set_fairness('other');
insert into pgqueue.jobs (job_type, queue, tenant_id) select 'bench_other', 'other', 'other ' || n % 10 from generate_series(1, 1000) n;

-- name: others_quotas
select pgqueue.set_tenant_quota('other ' || n, 1000000) from generate_series(0, 9) n;
insert into pgqueue.jobs (job_type, queue, tenant_id) select 'bench_other', 'other', 'other ' || n % 10 from generate_series(1, 1000) n;

-- name: others_dependents
with parent as (
    insert into pgqueue.jobs (job_type, queue) values ('bench_other', 'other') returning id
)
insert into pgqueue.jobs (job_type, queue, depends_on) select 'bench_other', 'other', array[p.id] from parent p cross join generate_series(1, 1000);

-- name: others_batch
insert into pgqueue.jobs (job_type, queue, batch_id)
select 'bench_other', 'other', b.id from (select pgqueue.open_batch('other') as id) b cross join generate_series(1, 1000);

-- name: others_signals
insert into pgqueue.jobs (job_type, queue) select 'bench_other', 'other' from generate_series(1, 1000);
select pgqueue.pause_until(c.job_id, c.token, 'go')
from pgqueue.register_worker('other', '{other}') as w (id) cross join lateral pgqueue.claim(w.id, '{other}', 1000) c;

-- name: others_hook
select pgqueue.set_hook('bench_other', 'pgqueue_bench.hook');

-- name: others_prices
select metering.set_customer('other'), metering.deposit('other', 'EUR', 1000000000), metering.set_price('bench_other', 1, 'EUR');

-- name: limit_keys
select pgqueue.set_limit('key', '*', p_max_running => 1);

-- name: keyed_limited
insert into pgqueue.jobs (id, job_type, payload, concurrency_key)
select pgqueue_bench.id('ready', n), 'bench_noop', '{"n": 1}', 'key ' || n %% %(keys)s from generate_series(%(first)s::bigint, %(last)s::bigint) n;

-- name: keyed_ordered
insert into pgqueue.jobs (id, job_type, payload, ordering_key)
select pgqueue_bench.id('ready', n), 'bench_noop', '{"n": 1}', 'key ' || n %% %(keys)s from generate_series(%(first)s::bigint, %(last)s::bigint) n;

-- name: park
with gone as (
    delete from pgqueue.ready r
    where r.job_id between pgqueue_bench.id('ready', %(first)s) and pgqueue_bench.id('ready', %(last)s)
    returning r.*
)
insert into pgqueue.blocked (job_id, reason, gate, pos, ready_at, queue, priority, job_type, flags)
select g.job_id, 'limit', x.gate, g.pos, g.ready_at, g.queue, g.priority, g.job_type, g.flags
from gone g
join pgqueue.jobs j on j.id = g.job_id
cross join lateral pgqueue.gates_of(g.job_type, g.queue, j.tenant_id, j.concurrency_key, j.ordering_key) as x (gate);

-- name: open_limited
insert into pgqueue.openings (gate, opens_at, made_at)
select l.id || '::key ' || n, now(), now() from pgqueue.limits l cross join generate_series(%s::integer, %s::integer) n where l.kind = 'key';

-- name: open_ordered
insert into pgqueue.openings (gate, opens_at, made_at)
select '0::key ' || n, now(), now() from generate_series(%s::integer, %s::integer) n;

-- name: vacuum_gates
vacuum (analyze) pgqueue.jobs, pgqueue.ready, pgqueue.blocked, pgqueue.ordered_jobs, pgqueue.openings, pgqueue.slots;
