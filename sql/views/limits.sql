-- Limits and where they stand. Counts running places and parked jobs: cheap up to some 100,000 parked jobs.
create or replace view pgqueue.limit_status with (security_invoker = true) as
with slots as (
    select split_part(s.gate, ':', 1)::bigint as id, count(*) as running
    from pgqueue.slots s
    join pgqueue.running r on r.job_id = s.job_id and r.token = s.token
    group by 1
), parked as (
    select split_part(b.gate, ':', 1)::bigint as id, count(*) as jobs, count(distinct b.gate) as gates
    from pgqueue.blocked b where b.gate is not null
    group by 1
)
select
    l.kind,
    l.name,
    l.max_running,
    l.rate_jobs,
    l.rate_interval,
    l.rate_burst,
    coalesce(s.running, 0)::bigint as running,
    coalesce(p.jobs, 0)::bigint as parked,
    coalesce(p.gates, 0)::bigint as parked_gates,
    (select min(o.opens_at) from pgqueue.openings o
     where o.opens_at > o.made_at and split_part(o.gate, ':', 1)::bigint = l.id)::timestamptz as next_opening_at,
    l.operator_managed,
    l.description,
    l.updated_at
from pgqueue.limits l
left join slots s on s.id = l.id
left join parked p on p.id = l.id;

comment on view pgqueue.limit_status is 'The limits, with what runs and what waits under each. Change them with pgqueue.set_limit() and drop_limit().';
comment on column pgqueue.limit_status.kind is 'job_type, queue, tenant or key.';
comment on column pgqueue.limit_status.name is 'What is limited; * = each tenant alone, or keys over all types.';
comment on column pgqueue.limit_status.max_running is 'At most so many at once, per tenant or key where those count alone.';
comment on column pgqueue.limit_status.rate_jobs is 'So many starts per rate_interval.';
comment on column pgqueue.limit_status.rate_interval is 'The time that rate_jobs is about.';
comment on column pgqueue.limit_status.rate_burst is 'So many may start at once after a quiet time.';
comment on column pgqueue.limit_status.running is 'Jobs that hold a place under max_running, over all its tenants or keys.';
comment on column pgqueue.limit_status.parked is 'Jobs that were refused and wait for their turn; those that no claim has come to yet are in ready.';
comment on column pgqueue.limit_status.parked_gates is 'Of how many tenants or keys.';
comment on column pgqueue.limit_status.next_opening_at is 'When the next token comes for somebody who waits.';
comment on column pgqueue.limit_status.operator_managed is 'Set by an operator: what workers declare is ignored.';
comment on column pgqueue.limit_status.description is 'What it is for.';
comment on column pgqueue.limit_status.updated_at is 'When it was changed last.';
