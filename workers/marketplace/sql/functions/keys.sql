-- API keys: made, ended, and looked up.

-- A new key for a customer. It is returned once and cannot be had again. Raises PQ006 for an unknown customer, or another tenant's.
create or replace function marketplace.create_api_key(p_customer text, p_label text default null)
returns text
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant text := pgqueue.current_tenant();
    v_key text := 'mk_' || replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', '');
begin
    perform from metering.customers c where c.customer = p_customer and (v_tenant is null or c.tenant_id = v_tenant);
    if not found then
        raise exception using errcode = 'PQ006', message = format('there is no customer %L', p_customer),
            hint = 'select metering.set_customer(customer);';
    end if;
    insert into marketplace.api_keys (key_hash, customer, label)
    values (sha256(convert_to(v_key, 'UTF8')), p_customer, p_label);
    return v_key;
end
$$;
revoke all on function marketplace.create_api_key(text, text) from public;

-- The key is good no longer; jobs that were ordered with it run. False: there is no such key, or it was revoked before.
create or replace function marketplace.revoke_api_key(p_key_id bigint)
returns boolean
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    update marketplace.api_keys k set revoked_at = clock_timestamp()
    where k.key_id = p_key_id and k.revoked_at is null
        and (pgqueue.current_tenant() is null
            or exists (select from metering.customers c where c.customer = k.customer and c.tenant_id = pgqueue.current_tenant()));
    return found;
end
$$;
revoke all on function marketplace.revoke_api_key(bigint) from public;

-- Whose key this is. Raises MK001: nobody's, a revoked one, or one of another tenant than the session's. The message does not say
-- which, and does not repeat the key.
create or replace function marketplace.customer_of(p_api_key text)
returns metering.customers
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant text := pgqueue.current_tenant();
    v_customer metering.customers;
begin
    select c.* into v_customer
    from marketplace.api_keys k
    join metering.customers c on c.customer = k.customer
    where k.key_hash = sha256(convert_to(p_api_key, 'UTF8')) and k.revoked_at is null
        and (v_tenant is null or c.tenant_id = v_tenant);
    if not found then
        raise exception using errcode = 'MK001', message = 'this API key is not known here, or was revoked',
            hint = 'An operator makes one: select marketplace.create_api_key(customer);';
    end if;
    return v_customer;
end
$$;
revoke all on function marketplace.customer_of(text) from public;
