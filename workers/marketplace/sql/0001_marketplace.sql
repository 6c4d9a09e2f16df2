-- What a marketplace of jobs adds to metering, which keeps its customers, prices and wallets: keys, what is sold, who ordered
-- what, and the reports that were made.

comment on schema marketplace is 'Jobs for sale: customers order by API key and pay for what succeeds. Money is in the schema metering.';

create table marketplace.api_keys (
    key_id bigint generated always as identity,
    key_hash bytea not null,
    customer text not null,
    label text,
    created_at timestamptz not null default clock_timestamp(),
    revoked_at timestamptz,
    constraint api_keys_pkey primary key (key_id),
    constraint api_keys_key_hash_key unique (key_hash),
    constraint api_keys_customer_fkey foreign key (customer) references metering.customers (customer),
    constraint api_keys_key_hash_check check (octet_length(key_hash) = 32),
    constraint api_keys_label_check check (length(label) between 1 and 200)
);
create index api_keys_customer_idx on marketplace.api_keys (customer);
comment on table marketplace.api_keys is 'Who may order. marketplace.create_api_key() makes them, revoke_api_key() ends them.';
comment on column marketplace.api_keys.key_id is 'By which a key is revoked.';
comment on column marketplace.api_keys.key_hash is 'SHA-256 of the key, which is kept nowhere. A key has 244 random bits, so it needs no salt.';
comment on column marketplace.api_keys.customer is 'Who orders with it, and pays.';
comment on column marketplace.api_keys.label is 'For people.';
comment on column marketplace.api_keys.created_at is 'Since when.';
comment on column marketplace.api_keys.revoked_at is 'Until when; null = it is good.';

create table marketplace.job_types (
    job_type text not null,
    title text not null,
    payload_bytes_max integer not null,
    constraint job_types_pkey primary key (job_type),
    constraint job_types_job_type_check check (length(job_type) between 1 and 100),
    constraint job_types_title_check check (length(title) between 1 and 200),
    constraint job_types_payload_bytes_max_check check (payload_bytes_max between 1 and 1000000)
);
comment on table marketplace.job_types is 'What is sold; marketplace.price_list() adds costs and whether it is to be had. Change it with marketplace.set_job_type().';
comment on column marketplace.job_types.job_type is 'The type.';
comment on column marketplace.job_types.title is 'For customers.';
comment on column marketplace.job_types.payload_bytes_max is 'A longer payload is refused: MK003.';

-- No foreign keys: to customers it would lock his row at each order, and jobs go by retention while orders stay.
create table marketplace.orders (
    customer text not null,
    job_id uuid not null,
    job_type text not null,
    ordered_at timestamptz not null default clock_timestamp(),
    constraint orders_pkey primary key (customer, job_id)
);
comment on table marketplace.orders is 'Who ordered which job: marketplace.my_jobs() finds them by it.';
comment on column marketplace.orders.customer is 'Who ordered.';
comment on column marketplace.orders.job_id is 'The job; ids grow with time.';
comment on column marketplace.orders.job_type is 'Its type.';
comment on column marketplace.orders.ordered_at is 'When.';

create table marketplace.reports (
    job_id uuid not null,
    customer text not null,
    title text not null,
    html text not null,
    rendered_at timestamptz not null default clock_timestamp(),
    constraint reports_pkey primary key (job_id)
);
comment on table marketplace.reports is 'What render_report made; marketplace.my_report() hands it out.';
comment on column marketplace.reports.job_id is 'The job that made it.';
comment on column marketplace.reports.customer is 'Whose it is.';
comment on column marketplace.reports.title is 'As ordered.';
comment on column marketplace.reports.html is 'The document.';
comment on column marketplace.reports.rendered_at is 'When.';

-- For viewers who are confined to a tenant. It does not hold for the owner, as whom our functions run.
do $$
declare
    v_table text;
begin
    foreach v_table in array array['api_keys', 'orders', 'reports'] loop
        execute format('alter table marketplace.%I enable row level security', v_table);
        execute format('create policy %I on marketplace.%I using ((select pgqueue.current_tenant()) is null'
            ' or (select true from metering.customers c where c.customer = %I.customer))', v_table || '_tenant', v_table, v_table);
    end loop;
end
$$;
