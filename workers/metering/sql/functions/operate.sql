-- Customers, prices and money, by operators; or by an application's login that has been granted the single function.

-- Add or change a customer. NULL leaves a value as it is. p_on_insufficient: 'refuse' or 'hold' for all of the customer's jobs,
-- whatever their types' prices say; '' goes back to those.
create or replace function metering.set_customer(
    p_customer text,
    p_name text default null,
    p_tenant_id text default null,
    p_on_insufficient text default null
)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    insert into metering.customers as c (customer, name, tenant_id, on_insufficient)
    values (p_customer, p_name, p_tenant_id, nullif(p_on_insufficient, ''))
    on conflict (customer) do update set
        name = coalesce(excluded.name, c.name),
        tenant_id = coalesce(excluded.tenant_id, c.tenant_id),
        on_insufficient = case when p_on_insufficient is null then c.on_insufficient else nullif(p_on_insufficient, '') end;
end
$$;
revoke all on function metering.set_customer(text, text, text, text) from public;

-- What a job of this type costs, in minor units, from the next INSERT on; jobs inserted before keep their price. 0 = nothing.
create or replace function metering.set_price(
    p_job_type text,
    p_cost bigint,
    p_currency text,
    p_on_insufficient text default 'refuse'
)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_broken text;
begin
    begin
        insert into metering.prices (job_type, cost, currency, on_insufficient)
        values (p_job_type, p_cost, p_currency, p_on_insufficient)
        on conflict (job_type) do update set cost = excluded.cost, currency = excluded.currency, on_insufficient = excluded.on_insufficient;
    exception when check_violation then
        get stacked diagnostics v_broken = constraint_name;
        perform pgqueue.refuse_check('metering', 'prices', v_broken, jsonb_build_object('job_type', p_job_type, 'cost', p_cost,
                'currency', p_currency, 'on_insufficient', p_on_insufficient),
            'For example 2.50 EUR: select metering.set_price(''render'', 250, ''EUR''). 0 costs nothing; metering.remove_price() takes a price away.');
    end;
    perform pgqueue.set_hook(p_job_type, 'metering.on_jobs');
end
$$;
revoke all on function metering.set_price(text, bigint, text, text) from public;

-- Jobs of this type cost nothing from now on. False = they had no price. Those on their way are still charged for: the hook stays,
-- because an INSERT that has not committed yet may have reserved, and nobody sees that.
create or replace function metering.remove_price(p_job_type text)
returns boolean
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    delete from metering.prices p where p.job_type = p_job_type;
    return found;
end
$$;
revoke all on function metering.remove_price(text) from public;

-- Append money: a deposit, or an adjustment upwards. Waits for nobody.
create or replace function metering.enter(
    p_wallet_id bigint,
    p_amount bigint,
    p_kind text,
    p_reference text,
    p_note text
)
returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_id bigint;
    v_amount bigint;
begin
    insert into metering.wallet_entries (wallet_id, amount, kind, reference, note)
    values (p_wallet_id, p_amount, p_kind, p_reference, p_note)
    on conflict (wallet_id, reference) where reference is not null do nothing
    returning id into v_id;
    if v_id is null then
        select e.id, e.amount into v_id, v_amount
        from metering.wallet_entries e where e.wallet_id = p_wallet_id and e.reference = p_reference;
        if v_amount <> p_amount then
            raise exception using errcode = 'PQ006', message = format('reference %L was entered with another amount: %s', p_reference, v_amount);
        end if;
        return v_id;
    end if;
    if p_amount > 0 then
        insert into metering.wallet_changes (wallet_id, balance, pending) values (p_wallet_id, p_amount, 0);
        perform metering.try_release(p_wallet_id);
    else
        update metering.wallets w set balance = w.balance + p_amount where w.id = p_wallet_id;
    end if;
    return v_id;
end
$$;
revoke all on function metering.enter(bigint, bigint, text, text, text) from public;

-- Money comes in; jobs that waited for it go. p_reference: the payment's own id; the same one again changes nothing.
-- Returns the entry's id.
create or replace function metering.deposit(
    p_customer text,
    p_currency text,
    p_amount bigint,
    p_reference text default null,
    p_note text default null
)
returns bigint
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if p_amount is null or p_amount not between 1 and 1000000000000000 then
        raise exception using errcode = 'PQ006', message = format('cannot deposit %s: give 1 to 10^15 minor units', coalesce(p_amount::text, 'NULL'));
    end if;
    return metering.enter(metering.open_wallet(p_customer, p_currency), p_amount, 'deposit', p_reference, p_note);
end
$$;
revoke all on function metering.deposit(text, text, bigint, text, text) from public;

-- Correct a balance, up or down. Raises PQ009 for more than is available: what jobs have reserved stays theirs.
create or replace function metering.adjust(
    p_customer text,
    p_currency text,
    p_amount bigint,
    p_note text,
    p_reference text default null
)
returns bigint
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_wallet bigint := metering.open_wallet(p_customer, p_currency);
    v_available bigint;
begin
    if p_amount is null or p_amount = 0 or abs(p_amount) > 1000000000000000 then
        raise exception using errcode = 'PQ006', message = format('cannot adjust by %s', coalesce(p_amount::text, 'NULL'));
    end if;
    if p_amount < 0 then
        perform from metering.wallets w where w.id = v_wallet for no key update;
        v_available := metering.settle(v_wallet);
        if v_available < -p_amount
            and not exists (select from metering.wallet_entries e where e.wallet_id = v_wallet and e.reference = p_reference)
        then
            perform metering.refuse(v_wallet, v_available, -p_amount, 'the adjustment');
        end if;
    end if;
    return metering.enter(v_wallet, p_amount, 'adjustment', p_reference, p_note);
end
$$;
revoke all on function metering.adjust(text, text, bigint, text, text) from public;

-- Give back what was charged for a job, or a part of it; never more. Raises PQ006. Locks the wallet, so that
-- two refunds of one job follow each other. Returns the entry's id.
create or replace function metering.refund(p_job_id uuid, p_amount bigint default null, p_note text default null)
returns bigint
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_charge metering.wallet_entries;
    v_left bigint;
    v_id bigint;
begin
    perform pgqueue.check_job(p_job_id) where pgqueue.current_tenant() is not null;
    select * into v_charge from metering.wallet_entries e
    where e.job_id = p_job_id and e.kind = 'charge' order by e.id desc limit 1;
    if found then
        perform from metering.wallets w where w.id = v_charge.wallet_id for no key update;
        select -sum(e.amount) into v_left from metering.wallet_entries e
        where e.job_id = p_job_id and e.wallet_id = v_charge.wallet_id;
    end if;
    if coalesce(v_left, 0) < coalesce(p_amount, 1) or p_amount < 1 then
        raise exception using errcode = 'PQ006',
            message = format('cannot refund %s for job %s: %s is left of its charges', coalesce(p_amount::text, 'anything'), p_job_id, coalesce(v_left, 0));
    end if;
    insert into metering.wallet_entries (wallet_id, amount, kind, job_id, job_type, note)
    values (v_charge.wallet_id, coalesce(p_amount, v_left), 'refund', p_job_id, v_charge.job_type, p_note)
    returning id into v_id;
    -- The row itself: a transaction at REPEATABLE READ that has not seen an earlier refund fails here with 40001.
    update metering.wallets w set balance = w.balance + coalesce(p_amount, v_left) where w.id = v_charge.wallet_id;
    perform metering.try_release(v_charge.wallet_id);
    return v_id;
end
$$;
revoke all on function metering.refund(uuid, bigint, text) from public;
