-- Every violation of what metering promises, from one snapshot. No rows = all is well. Reads everything.
create or replace function metering.verify()
returns table (problem text, customer text, job_id uuid, detail text)
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
    with money as (
        select w.id, w.customer, w.currency,
            w.balance + coalesce((select sum(c.balance) from metering.wallet_changes c where c.wallet_id = w.id), 0) as balance,
            w.pending + coalesce((select sum(c.pending) from metering.wallet_changes c where c.wallet_id = w.id), 0) as pending,
            coalesce((select sum(e.amount) from metering.wallet_entries e where e.wallet_id = w.id), 0) as entered,
            coalesce((select sum(r.amount) from metering.reservations r where r.wallet_id = w.id), 0) as reserved
        from metering.wallets w
    ), unfinished as (
        select r.job_id from pgqueue.ready r
        union all select s.job_id from pgqueue.scheduled s
        union all select b.job_id from pgqueue.blocked b
        union all select u.job_id from pgqueue.running u
    )
    select p.problem, p.customer, p.job_id, p.detail
    from (
        select 'balance is not the sum of the entries', m.customer, null::uuid, format('%s %s, entered %s', m.balance, m.currency, m.entered)
        from money m where m.balance <> m.entered
        union all
        select 'pending is not the sum of the reservations', m.customer, null, format('%s %s, reserved %s', m.pending, m.currency, m.reserved)
        from money m where m.pending <> m.reserved
        union all
        select 'more is reserved than there is', m.customer, null, format('%s of %s %s', m.pending, m.balance, m.currency)
        from money m where m.balance < m.pending or m.pending < 0
        union all
        select 'reservation of a job that is not unfinished', null, r.job_id, format('%s, wallet %s', r.amount, r.wallet_id)
        from metering.reservations r
        where not exists (select from unfinished u where u.job_id = r.job_id)
            -- Its hook failed when it finished, and will be called again.
            and not exists (select from pgqueue.hook_calls c where c.job_id = r.job_id)
        union all
        select 'waits for money, and is not held', null, h.job_id, format('%s, wallet %s', h.amount, h.wallet_id)
        from metering.holds h
        where not exists (select from pgqueue.blocked b where b.job_id = h.job_id and b.flags & 1024 <> 0)
            and not exists (select from pgqueue.hook_calls c where c.job_id = h.job_id)
        union all
        select 'reserved and waiting for money', null, h.job_id, null
        from metering.holds h join metering.reservations r on r.job_id = h.job_id
        union all
        -- Each success charges once; a success that a retry undid is an attempt.
        select 'charged more often than it succeeded', null, x.job_id, format('%s charges', x.charges)
        from (
            select e.job_id, count(*) as charges from metering.wallet_entries e where e.kind = 'charge' group by e.job_id
        ) x
        where exists (select from pgqueue.jobs j where j.id = x.job_id)
            and x.charges > (select count(*) from pgqueue.finished f where f.job_id = x.job_id and f.status in ('succeeded', 'partial'))
                + (select count(*) from pgqueue.attempts a where a.job_id = x.job_id and a.outcome = 'redriven'
                    and a.error ->> 'status' in ('succeeded', 'partial'))
        union all
        select 'entry, change, reservation or hold of no wallet', null, null, format('wallet %s', x.wallet_id)
        from (select e.wallet_id from metering.wallet_entries e
              union select c.wallet_id from metering.wallet_changes c
              union select r.wallet_id from metering.reservations r
              union select h.wallet_id from metering.holds h) x
        where not exists (select from metering.wallets w where w.id = x.wallet_id)
    ) p (problem, customer, job_id, detail)
    where pgqueue.current_tenant() is null;
$$;
revoke all on function metering.verify() from public;
