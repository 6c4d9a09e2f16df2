-- Tenants in numbers. Nothing is kept for this per job, so it is counted when asked, up to 100,000 rows of each table and 100,000
-- finished jobs of each type: under a second at worst.

-- Security definer: for a confined session the policies would look at every row before the bound holds. It gets its own row only.
-- Proved by tests/security/test_tenants_numbers.py and tests/sql/test_tenant_stats.py.
create or replace function pgqueue.tenant_numbers()
returns table (
    tenant_id text,
    queued bigint,
    scheduled bigint,
    retrying bigint,
    blocked bigint,
    running bigint,
    finished_hour bigint,
    failed_hour bigint,
    oldest_queued_at timestamptz,
    counted_in_full boolean
)
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
    with recursive types as (
        (select f.job_type from pgqueue.finished f order by f.job_type limit 1)
        union all
        select n.job_type from types t
        cross join lateral (select f.job_type from pgqueue.finished f where f.job_type > t.job_type order by f.job_type limit 1) n
    ), found as materialized (
        (select r.job_id, 'queued' as status, r.ready_at as since from pgqueue.ready r limit 100000)
        union all
        (select s.job_id, case when s.reason = 'retry' then 'retrying' else 'scheduled' end, null from pgqueue.scheduled s limit 100000)
        union all
        (select b.job_id, 'blocked', null from pgqueue.blocked b limit 100000)
        union all
        (select u.job_id, 'running', null from pgqueue.running u limit 100000)
        union all
        select x.job_id, case when x.status = 'failed' then 'failed' else 'finished' end, null
        from types t
        cross join lateral (
            select f.job_id, f.status from pgqueue.finished f
            where f.job_type = t.job_type and f.finished_at >= statement_timestamp() - interval '1 hour'
            order by f.finished_at desc limit 100000
        ) x
    ), totals as (
        select bool_and(x.n < 100000) as counted_in_full
        from (select count(*) as n from found f where f.status not in ('failed', 'finished')
            group by case when f.status = 'retrying' then 'scheduled' else f.status end) x
    ), numbers as (
        select coalesce(j.tenant_id, '') as tenant_id, f.status, count(*) as n, min(f.since) as since
        from found f
        cross join lateral (select w.tenant_id from pgqueue.jobs w where w.id = f.job_id limit 1) j
        group by 1, 2
    )
    select k.tenant_id,
        coalesce(sum(n.n) filter (where n.status = 'queued'), 0)::bigint,
        coalesce(sum(n.n) filter (where n.status = 'scheduled'), 0)::bigint,
        coalesce(sum(n.n) filter (where n.status = 'retrying'), 0)::bigint,
        coalesce(sum(n.n) filter (where n.status = 'blocked'), 0)::bigint,
        coalesce(sum(n.n) filter (where n.status = 'running'), 0)::bigint,
        coalesce(sum(n.n) filter (where n.status in ('finished', 'failed')), 0)::bigint,
        coalesce(sum(n.n) filter (where n.status = 'failed'), 0)::bigint,
        min(n.since),
        coalesce((select t.counted_in_full from totals t), true)
    from (
        select n.tenant_id from numbers n
        union select s.tenant_id from pgqueue.tenant_settings s
        union select t.tenant_id from pgqueue.tenants t
    ) k
    left join numbers n on n.tenant_id = k.tenant_id
    where pgqueue.current_tenant() is null or k.tenant_id = pgqueue.current_tenant()
    group by k.tenant_id;
$$;
revoke all on function pgqueue.tenant_numbers() from public;

create or replace view pgqueue.tenant_stats with (security_invoker = true) as
select n.tenant_id, n.queued, n.scheduled, n.retrying, n.blocked, n.running, n.finished_hour, n.failed_hour, n.oldest_queued_at,
    coalesce(s.weight, 1) as weight, s.waiting_max, s.waiting_bytes_max, s.payload_bytes_max, c.waiting_bytes,
    (select array_agg(t.role_name::text order by t.role_name) from pgqueue.tenants t where t.tenant_id = n.tenant_id) as roles,
    n.counted_in_full
from pgqueue.tenant_numbers() n
left join pgqueue.tenant_settings s on s.tenant_id = n.tenant_id
left join lateral (
    select w.waiting_bytes from pgqueue.tenant_counts w where w.tenant_id = n.tenant_id order by w.id desc limit 1
) c on true;
comment on view pgqueue.tenant_stats is
    'Each tenant: what waits, runs and has finished, its weight and its quotas. A confined login sees its own row. Counts at most 100,000 rows of each kind.';
comment on column pgqueue.tenant_stats.tenant_id is 'The tenant; empty = jobs without one.';
comment on column pgqueue.tenant_stats.queued is 'Jobs that may run now.';
comment on column pgqueue.tenant_stats.scheduled is 'Jobs for later.';
comment on column pgqueue.tenant_stats.retrying is 'Jobs that wait for their backoff.';
comment on column pgqueue.tenant_stats.blocked is 'Jobs that wait for other jobs.';
comment on column pgqueue.tenant_stats.running is 'Jobs that run.';
comment on column pgqueue.tenant_stats.finished_hour is 'Jobs that finished in the last hour, in whatever way.';
comment on column pgqueue.tenant_stats.failed_hour is 'Those among them that failed.';
comment on column pgqueue.tenant_stats.oldest_queued_at is 'Since when the one that may run longest waits.';
comment on column pgqueue.tenant_stats.weight is 'Its turns in a fair queue, for one of a tenant without a weight.';
comment on column pgqueue.tenant_stats.waiting_max is 'So many of its jobs may wait; null = any number.';
comment on column pgqueue.tenant_stats.waiting_bytes_max is 'So many bytes of payload may wait; null = any number.';
comment on column pgqueue.tenant_stats.payload_bytes_max is 'So many bytes may a payload have; null = what any job may.';
comment on column pgqueue.tenant_stats.waiting_bytes is 'Bytes of payload waiting at the last count, of a tenant with a quota.';
comment on column pgqueue.tenant_stats.roles is 'The logins that are confined to it; null to those themselves.';
comment on column pgqueue.tenant_stats.counted_in_full is 'False: there was more than is counted, and these are lower bounds.';
