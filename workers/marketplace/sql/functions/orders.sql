-- What customers call, by their key. All of it runs with the rights of the schema's owner: who serves them needs no right on
-- any table, and none to insert jobs, with which he could name any customer.

-- Order a job; its cost is reserved now and charged for when it succeeds. p_priority: 0 goes first, then 1, then 2. p_reference: the
-- customer's own name for the order; the same one again returns the same job, and is paid once. Raises
--   MK001  the key is not known, or was revoked
--   MK002  nothing of this type is sold
--   MK003  the payload is too long for the type
--   PQ006  the priority is none, or the reference is empty or too long
--   PQ009  the wallet cannot pay (metering)
--   23514  jobs_job_type_enabled: the type is disabled (pgqueue)
create or replace function marketplace.submit(
    p_api_key text,
    p_job_type text,
    p_payload jsonb default '{}',
    p_priority bigint default 1,
    p_reference text default null
)
returns uuid
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_customer metering.customers := marketplace.customer_of(p_api_key);
    v_bytes integer := octet_length(p_payload::text);
    v_bytes_max integer;
    v_id uuid;
begin
    select t.payload_bytes_max into v_bytes_max
    from marketplace.job_types t join metering.prices p on p.job_type = t.job_type
    where t.job_type = p_job_type;
    if not found then
        raise exception using errcode = 'MK002', message = format('nothing of the type %L is sold here', p_job_type),
            hint = 'select * from marketplace.price_list();';
    end if;
    if v_bytes > v_bytes_max then
        raise exception using errcode = 'MK003',
            message = format('the payload has %s bytes, %s takes at most %s', v_bytes, p_job_type, v_bytes_max);
    end if;
    if p_priority is null or p_priority not between 0 and 2 then
        raise exception using errcode = 'PQ006', message = format('priority is %s, not 0, 1 or 2', coalesce(p_priority::text, 'NULL'));
    end if;
    if length(p_reference) not between 1 and 100 then
        raise exception using errcode = 'PQ006', message = format('the reference has %s characters, not 1 to 100', length(p_reference));
    end if;
    v_id := pgqueue.enqueue(
        p_job_type,
        p_payload,
        p_priority => p_priority,
        -- With the length, so that no two customers can come to the same key.
        p_idempotency_key => format('%s:%s:', length(v_customer.customer), v_customer.customer) || p_reference,
        p_tenant_id => v_customer.tenant_id,
        p_headers => jsonb_build_object('customer', v_customer.customer));
    insert into marketplace.orders (customer, job_id, job_type) values (v_customer.customer, v_id, p_job_type)
    on conflict (customer, job_id) do nothing;
    return v_id;
end
$$;
revoke all on function marketplace.submit(text, text, jsonb, bigint, text) from public;

-- The customer's jobs, latest first; the page after p_before, if given. What retention removed has no status any more.
create or replace function marketplace.my_jobs(p_api_key text, p_limit bigint default 100, p_before uuid default null)
returns table (
    job_id uuid,
    job_type text,
    priority smallint,
    status text,
    progress real,
    charged bigint,
    result jsonb,
    errors jsonb,
    ordered_at timestamptz,
    finished_at timestamptz
)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_customer metering.customers := marketplace.customer_of(p_api_key);
begin
    return query
    select o.job_id, o.job_type, s.priority, s.status, s.progress, m.charged, s.result, s.errors, o.ordered_at, s.finished_at
    from marketplace.orders o
    left join pgqueue.job_status s on s.id = o.job_id
    cross join lateral (
        select coalesce(-sum(e.amount), 0)::bigint as charged from metering.wallet_entries e where e.job_id = o.job_id
    ) m
    where o.customer = v_customer.customer and (p_before is null or o.job_id < p_before)
    order by o.job_id desc
    limit least(p_limit, 1000);
end
$$;
revoke all on function marketplace.my_jobs(text, bigint, uuid) from public;

-- The customer's wallets, in minor units.
create or replace function marketplace.my_wallet(p_api_key text)
returns table (currency text, balance bigint, pending bigint, available bigint, held_jobs bigint, held_amount bigint)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_customer metering.customers := marketplace.customer_of(p_api_key);
begin
    return query
    select w.currency, w.balance, w.pending, w.available, w.held_jobs, w.held_amount
    from metering.wallet_status w
    where w.customer = v_customer.customer
    order by w.currency;
end
$$;
revoke all on function marketplace.my_wallet(text) from public;

-- What came into the customer's wallets and what went out, latest first.
create or replace function marketplace.my_statement(p_api_key text, p_limit bigint default 100)
returns table (at timestamptz, kind text, amount bigint, balance bigint, currency text, job_id uuid, job_type text, reference text)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_customer metering.customers := marketplace.customer_of(p_api_key);
begin
    return query
    select s.at, s.kind, s.amount, s.balance, s.currency, s.job_id, s.job_type, s.reference
    from metering.wallet_statement s
    where s.customer = v_customer.customer
    order by s.id desc
    limit least(p_limit, 1000);
end
$$;
revoke all on function marketplace.my_statement(text, bigint) from public;

-- The document that a job of the customer's made. Raises PQ003: none of his did.
create or replace function marketplace.my_report(p_api_key text, p_job_id uuid)
returns text
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_customer metering.customers := marketplace.customer_of(p_api_key);
    v_html text;
begin
    select r.html into v_html from marketplace.reports r
    where r.job_id = p_job_id and r.customer = v_customer.customer;
    if not found then
        raise exception using errcode = 'PQ003', message = format('job %s made no report, or does not exist', p_job_id);
    end if;
    return v_html;
end
$$;
revoke all on function marketplace.my_report(text, uuid) from public;

-- What the handler of render_report calls, in the job's transaction. A job that is run again, by retry(), writes its document anew.
create or replace function marketplace.store_report(p_job_id uuid, p_title text, p_html text)
returns void
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
    insert into marketplace.reports (job_id, customer, title, html)
    select j.id, j.headers ->> 'customer', p_title, p_html from pgqueue.jobs j where j.id = p_job_id
    on conflict (job_id) do update set title = excluded.title, html = excluded.html, rendered_at = clock_timestamp();
$$;
revoke all on function marketplace.store_report(uuid, text, text) from public;
