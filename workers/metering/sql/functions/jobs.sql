-- What jobs do to wallets: the hook, called by pgqueue when jobs of priced types are inserted, finish, or run again.
--
-- A job names its customer in its headers: {"customer": "acme"}. It reserves its type's cost when it is inserted; the
-- wallet's row is locked from then until that transaction ends, so that two of one customer wait for each other, and nobody can
-- spend the same money twice. Success (partial, too) makes the reservation a charge, in the transaction that finishes the
-- job; failure and cancellation give it back. Neither locks the wallet. A finished job that runs again reserves again.
--
-- Deadlocks: one statement locks its wallets by id. A transaction that inserts for several customers by several statements locks them in
-- its own order, as with any rows: let it insert by one statement, or in the order of the customers.
-- Proved by tests/workers/metering/ and tests/races/test_metering.py.

-- Jobs that cost something: which wallet pays, how much, and whether a job may wait for money. wallet_id NULL = the customer has none yet.
-- A customer is found only under the job's own tenant.
create or replace function metering.costs_of(p_job_ids uuid[])
returns table (job_id uuid, job_type text, customer text, known boolean, currency text, wallet_id bigint, amount bigint, may_wait boolean)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select u.id, j.job_type, j.customer, c.customer is not null, p.currency, w.id, p.cost,
        coalesce(c.on_insufficient, p.on_insufficient) = 'hold'
    from unnest(p_job_ids) with ordinality as u (id, n)
    cross join lateral (
        select o.job_type, o.headers ->> 'customer' as customer, o.tenant_id from pgqueue.jobs o where o.id = u.id limit 1
    ) j
    join metering.prices p on p.job_type = j.job_type and p.cost > 0
    left join metering.customers c on c.customer = j.customer and c.tenant_id is not distinct from j.tenant_id
    left join metering.wallets w on w.customer = c.customer and w.currency = p.currency
    order by u.n;
$$;
revoke all on function metering.costs_of(uuid[]) from public;

-- Reserve what these jobs cost; returns those that must wait for money. p_all_wait: all may, whatever the policy says.
-- Raises PQ009 for one that cannot be paid and may not wait, 23514 metering_customer_known for an unknown customer.
-- The row of the wallet is a lower bound of what is available: only when it does not suffice is it settled and looked at again.
create or replace function metering.reserve(p_job_ids uuid[], p_all_wait boolean)
returns uuid[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_jobs uuid[];
    v_types text[];
    v_wallets bigint[];
    v_amounts bigint[];
    v_wait boolean[];
    v_paid bigint[];
    v_wallet bigint;
    v_held uuid[] := '{}';
begin
    for v_turn in 1..2 loop
        select array_agg(c.job_id), array_agg(c.job_type), array_agg(c.wallet_id), array_agg(c.amount), array_agg(c.may_wait or p_all_wait)
        into v_jobs, v_types, v_wallets, v_amounts, v_wait
        from metering.costs_of(p_job_ids) c;
        if v_jobs is null then
            return null;
        end if;
        exit when array_position(v_wallets, null) is null;
        perform metering.open_wallets(p_job_ids);
    end loop;
    perform from metering.wallets w where w.id = any (v_wallets) order by w.id for no key update;
    with need as (
        select u.wallet_id, sum(u.amount) as amount, bool_or(u.may_wait) as may_wait
        from unnest(v_wallets, v_amounts, v_wait) as u (wallet_id, amount, may_wait)
        group by u.wallet_id
    ), paid as (
        update metering.wallets w set pending = w.pending + n.amount
        from need n
        where w.id = n.wallet_id and w.balance - w.pending >= n.amount
            -- Who may wait does so behind those who wait already.
            and not (n.may_wait and exists (select from metering.holds h where h.wallet_id = w.id))
        returning w.id
    )
    select array_agg(p.id) into v_paid from paid p;
    for v_wallet in
        select distinct u.id from unnest(v_wallets) as u (id) where u.id <> all (coalesce(v_paid, '{}')) order by u.id
    loop
        v_held := v_held || metering.reserve_short(v_wallet, v_jobs, v_types, v_wallets, v_amounts, v_wait);
    end loop;
    insert into metering.reservations (job_id, wallet_id, amount, job_type)
    select u.job_id, u.wallet_id, u.amount, u.job_type
    from unnest(v_jobs, v_wallets, v_amounts, v_types) as u (job_id, wallet_id, amount, job_type)
    where u.job_id <> all (v_held);
    return v_held;
end
$$;
revoke all on function metering.reserve(uuid[], boolean) from public;

-- Open wallets that are missing; refuse jobs whose customer is unknown.
create or replace function metering.open_wallets(p_job_ids uuid[])
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_cost record;
begin
    for v_cost in
        select distinct c.customer, c.known, c.currency, c.job_type from metering.costs_of(p_job_ids) c
        where c.wallet_id is null order by c.known, c.customer, c.currency
    loop
        if not v_cost.known then
            raise exception using errcode = '23514', constraint = 'metering_customer_known', schema = 'pgqueue', table = 'jobs',
                column = 'headers',
                message = case when v_cost.customer is null then format('a job of type %L names no customer in its headers', v_cost.job_type)
                    else format('there is no customer %L of this tenant', v_cost.customer) end,
                hint = 'headers => {"customer": "..."}; select * from metering.customers lists them.';
        end if;
        perform metering.open_wallet(v_cost.customer, v_cost.currency);
    end loop;
end
$$;
revoke all on function metering.open_wallets(uuid[]) from public;

-- Of these jobs those of one wallet, whose row the caller has locked, and which does not suffice at first sight: job by job.
-- Returns those that must wait. Raises PQ009.
create or replace function metering.reserve_short(
    p_wallet_id bigint,
    p_jobs uuid[],
    p_types text[],
    p_wallets bigint[],
    p_amounts bigint[],
    p_wait boolean[]
)
returns uuid[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_available bigint := metering.settle(p_wallet_id);
    v_queue boolean := exists (select from metering.holds h where h.wallet_id = p_wallet_id);
    v_reserved bigint := 0;
    v_held uuid[] := '{}';
begin
    for i in 1..cardinality(p_jobs) loop
        continue when p_wallets[i] <> p_wallet_id;
        if p_amounts[i] <= v_available - v_reserved and not (p_wait[i] and v_queue) then
            v_reserved := v_reserved + p_amounts[i];
        elsif p_wait[i] then
            v_queue := true;
            v_held := v_held || p_jobs[i];
            insert into metering.holds (wallet_id, job_id, amount, job_type)
            values (p_wallet_id, p_jobs[i], p_amounts[i], p_types[i]);
        else
            perform metering.refuse(p_wallet_id, v_available - v_reserved, p_amounts[i], p_types[i]);
        end if;
    end loop;
    if v_reserved > 0 then
        update metering.wallets w set pending = w.pending + v_reserved where w.id = p_wallet_id;
    end if;
    return v_held;
end
$$;
revoke all on function metering.reserve_short(bigint, uuid[], text[], bigint[], bigint[], boolean[]) from public;

-- The one place that words PQ009.
create or replace function metering.refuse(p_wallet_id bigint, p_available bigint, p_needed bigint, p_what text)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_wallet metering.wallets;
begin
    select * into v_wallet from metering.wallets w where w.id = p_wallet_id;
    raise exception using errcode = 'PQ009',
        message = format('insufficient funds: customer %L has %s %s (minor units) available, %s needs %s', v_wallet.customer,
            p_available, v_wallet.currency, p_what, p_needed),
        hint = format('select metering.deposit(%L, %L, ...); or let such jobs wait: on_insufficient hold.',
            v_wallet.customer, v_wallet.currency);
end
$$;
revoke all on function metering.refuse(bigint, bigint, bigint, text) from public;

-- These jobs have finished: charge for those that succeeded, give back the others' money. Waits for nobody.
create or replace function metering.charge(p_job_ids uuid[])
returns void
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
    with gone as (
        delete from metering.reservations r where r.job_id = any (p_job_ids) returning r.*
    ), ended as materialized (
        select g.*, f.status in ('succeeded', 'partial') as charged
        from gone g
        cross join lateral (select e.status from pgqueue.finished e where e.job_id = g.job_id limit 1) f
    ), entered as (
        insert into metering.wallet_entries (wallet_id, amount, kind, job_id, job_type)
        select e.wallet_id, -e.amount, 'charge', e.job_id, e.job_type from ended e where e.charged
    )
    insert into metering.wallet_changes (wallet_id, balance, pending)
    select e.wallet_id, coalesce(-sum(e.amount) filter (where e.charged), 0), -sum(e.amount) from ended e group by e.wallet_id;
    -- Cancelled while it waited for money.
    delete from metering.holds h where h.job_id = any (p_job_ids);
$$;
revoke all on function metering.charge(uuid[]) from public;

-- The hook.
create or replace function metering.on_jobs(p_event text, p_job_ids uuid[])
returns uuid[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    case p_event
        when 'insert' then return metering.reserve(p_job_ids, false);
        -- Whoever redrives a thousand jobs is not refused for the sake of one customer: what cannot be paid waits.
        when 'retry' then return metering.reserve(p_job_ids, true);
        when 'finish' then perform metering.charge(p_job_ids);
        when 'maintain' then perform metering.settle_all();
    end case;
    return null;
end
$$;
revoke all on function metering.on_jobs(text, uuid[]) from public;
