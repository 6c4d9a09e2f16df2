-- Wallets: settling what jobs appended, and letting go the jobs that waited for money. Both need the wallet's row locked.

-- The ledger is only ever appended to, by the owner as well.
create or replace function metering.guard_entries()
returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    raise exception using errcode = 'PQ007', message = 'entries of a wallet are never changed or removed',
        hint = 'Enter the opposite: select metering.adjust(customer, currency, amount, note), or refund(job_id).';
end
$$;
revoke all on function metering.guard_entries() from public;

create or replace trigger wallet_entries_guard
    before update or delete or truncate on metering.wallet_entries
    for each statement execute function metering.guard_entries();

-- The customer's wallet in this currency, opened if need be. Raises PQ006 for a customer that is unknown, or another tenant's.
create or replace function metering.open_wallet(p_customer text, p_currency text)
returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant text := pgqueue.current_tenant();
    v_id bigint;
begin
    perform from metering.customers c where c.customer = p_customer and (v_tenant is null or c.tenant_id = v_tenant);
    if not found then
        raise exception using errcode = 'PQ006', message = format('there is no customer %L', p_customer),
            hint = 'select metering.set_customer(customer);';
    end if;
    for v_turn in 1..2 loop
        select w.id into v_id from metering.wallets w where w.customer = p_customer and w.currency = p_currency;
        exit when found;
        insert into metering.wallets (customer, currency) values (p_customer, p_currency)
        on conflict (customer, currency) do nothing;
    end loop;
    return v_id;
end
$$;
revoke all on function metering.open_wallet(text, text) from public;

-- Add to the wallet's row what was appended since. The caller has locked the row. Returns what is available.
create or replace function metering.settle(p_wallet_id bigint)
returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_balance bigint;
    v_pending bigint;
    v_available bigint;
begin
    with gone as (
        delete from metering.wallet_changes c where c.wallet_id = p_wallet_id returning c.balance, c.pending
    )
    select sum(g.balance), sum(g.pending) into v_balance, v_pending from gone g;
    if v_balance is not null then
        update metering.wallets w set balance = w.balance + v_balance, pending = w.pending + v_pending
        where w.id = p_wallet_id;
    end if;
    select w.balance - w.pending into v_available from metering.wallets w where w.id = p_wallet_id;
    return v_available;
end
$$;
revoke all on function metering.settle(bigint) from public;

-- Let go jobs that wait for money, first come first served, while they can be paid; at most 1,000. The caller has locked
-- the wallet's row. Waits for nobody: a job that somebody is changing is left for the next time.
create or replace function metering.release_held(p_wallet_id bigint)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_available bigint;
    v_ids uuid[];
begin
    if not exists (select from metering.holds h where h.wallet_id = p_wallet_id) then
        return;
    end if;
    v_available := metering.settle(p_wallet_id);
    v_ids := array(
        select s.job_id
        from (
            select h.job_id, h.id, sum(h.amount) over (order by h.id) as total
            from (select x.* from metering.holds x where x.wallet_id = p_wallet_id order by x.id limit 1000) h
        ) s
        where s.total <= v_available
        order by s.id);
    if v_ids = '{}' then
        return;
    end if;
    v_ids := pgqueue.unhold(v_ids);
    with gone as (
        delete from metering.holds h where h.job_id = any (v_ids) returning h.*
    ), stored as (
        insert into metering.reservations (job_id, wallet_id, amount, job_type)
        select g.job_id, g.wallet_id, g.amount, g.job_type from gone g
    )
    update metering.wallets w set pending = w.pending + s.amount
    from (select sum(g.amount) as amount from gone g) s
    where w.id = p_wallet_id and s.amount is not null;
end
$$;
revoke all on function metering.release_held(bigint) from public;

-- The same for one wallet at once, unless somebody uses it: then, and at REPEATABLE READ, where a row that changed meanwhile
-- would be an error, maintenance does it within about a second.
create or replace function metering.try_release(p_wallet_id bigint)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if current_setting('transaction_isolation') in ('repeatable read', 'serializable')
        or not exists (select from metering.holds h where h.wallet_id = p_wallet_id)
    then
        return;
    end if;
    perform from metering.wallets w where w.id = p_wallet_id for no key update skip locked;
    if found then
        perform metering.release_held(p_wallet_id);
    end if;
end
$$;
revoke all on function metering.try_release(bigint) from public;

-- Maintenance: settle every wallet that has changes, and let go who waits. Skips wallets that are in use.
create or replace function metering.settle_all()
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_wallet bigint;
begin
    for v_wallet in
        select c.wallet_id from metering.wallet_changes c
        union
        select h.wallet_id from metering.holds h
        order by 1
        limit 1000
    loop
        perform from metering.wallets w where w.id = v_wallet for no key update skip locked;
        if found then
            perform metering.settle(v_wallet);
            perform metering.release_held(v_wallet);
        end if;
    end loop;
end
$$;
revoke all on function metering.settle_all() from public;
