-- What customers have, what happened to it, and what jobs brought in.

create or replace view metering.wallet_status with (security_invoker = true) as
select w.customer, w.currency, m.balance, m.pending, (m.balance - m.pending)::bigint as available,
    coalesce(h.jobs, 0)::bigint as held_jobs, coalesce(h.amount, 0)::bigint as held_amount
from metering.wallets w
cross join lateral (
    select (w.balance + coalesce(sum(c.balance), 0))::bigint as balance, (w.pending + coalesce(sum(c.pending), 0))::bigint as pending
    from metering.wallet_changes c where c.wallet_id = w.id
) m
cross join lateral (
    select count(*) as jobs, sum(x.amount) as amount from metering.holds x where x.wallet_id = w.id
) h;

comment on view metering.wallet_status is 'Every wallet as it is now. Amounts in minor units.';
comment on column metering.wallet_status.customer is 'Whose it is.';
comment on column metering.wallet_status.currency is 'Of the amounts.';
comment on column metering.wallet_status.balance is 'The sum of its entries.';
comment on column metering.wallet_status.pending is 'Reserved by unfinished jobs.';
comment on column metering.wallet_status.available is 'What new jobs can reserve: balance less pending.';
comment on column metering.wallet_status.held_jobs is 'Jobs that wait for money.';
comment on column metering.wallet_status.held_amount is 'What they need.';

create or replace view metering.wallet_statement with (security_invoker = true) as
select w.customer, w.currency, e.id, e.created_at as at, e.kind, e.amount,
    (sum(e.amount) over (partition by e.wallet_id order by e.id))::bigint as balance, e.job_id, e.job_type, e.reference, e.note, e.created_by
from metering.wallet_entries e
join metering.wallets w on w.id = e.wallet_id;

comment on view metering.wallet_statement is 'A customer''s statement: select * from metering.wallet_statement where customer = ... order by id.';
comment on column metering.wallet_statement.customer is 'Whose wallet it is.';
comment on column metering.wallet_statement.currency is 'Of the amounts.';
comment on column metering.wallet_statement.id is 'Of the entry; the order of the statement.';
comment on column metering.wallet_statement.at is 'When it was entered.';
comment on column metering.wallet_statement.kind is 'deposit, charge, refund or adjustment.';
comment on column metering.wallet_statement.amount is 'Minor units; charges are negative.';
comment on column metering.wallet_statement.balance is 'After this entry.';
comment on column metering.wallet_statement.job_id is 'The job that was charged for or refunded.';
comment on column metering.wallet_statement.job_type is 'Its type.';
comment on column metering.wallet_statement.reference is 'The id that came with the payment.';
comment on column metering.wallet_statement.note is 'Why.';
comment on column metering.wallet_statement.created_by is 'The login that entered it.';

create or replace view metering.revenue with (security_invoker = true) as
select (e.created_at at time zone 'UTC')::date as day, e.job_type, w.currency,
    count(*) filter (where e.kind = 'charge') as jobs,
    coalesce(-sum(e.amount) filter (where e.kind = 'charge'), 0)::bigint as charged,
    coalesce(sum(e.amount) filter (where e.kind = 'refund'), 0)::bigint as refunded,
    (-sum(e.amount))::bigint as net
from metering.wallet_entries e
join metering.wallets w on w.id = e.wallet_id
where e.kind in ('charge', 'refund')
group by 1, 2, 3;

comment on view metering.revenue is 'What jobs brought in, per day (UTC), job type and currency.';
comment on column metering.revenue.day is 'The day of the entries, UTC.';
comment on column metering.revenue.job_type is 'The type.';
comment on column metering.revenue.currency is 'Of the amounts.';
comment on column metering.revenue.jobs is 'Charges.';
comment on column metering.revenue.charged is 'Their sum, minor units.';
comment on column metering.revenue.refunded is 'Given back on that day.';
comment on column metering.revenue.net is 'charged less refunded.';
