-- The tables of metering. Amounts are whole minor units (cents) in bigint. No foreign keys between the tables that jobs write to:
-- each would lock the wallet's row at every charge. metering.verify() checks what they would have promised.
--
-- Lock order: what pgqueue locks, then wallets by id, then nothing that anybody waits for. Who ends jobs locks no
-- wallet at all: he appends to wallet_changes. That can only raise what is available, or leave it: a charge takes from
-- balance what it takes from pending.

create table metering.customers (
    customer text primary key,
    name text,
    tenant_id text,
    on_insufficient text,
    created_at timestamptz not null default clock_timestamp(),
    constraint customers_customer_check check (length(customer) between 1 and 100),
    constraint customers_name_check check (length(name) between 1 and 200),
    constraint customers_tenant_id_check check (length(tenant_id) between 1 and 100),
    constraint customers_on_insufficient_check check (on_insufficient in ('refuse', 'hold'))
);

-- balance and pending as of the last settling; wallet_changes holds what came since. fillfactor: a reservation updates the row.
create table metering.wallets (
    id bigint generated always as identity primary key,
    customer text not null,
    currency text not null,
    balance bigint not null default 0,
    pending bigint not null default 0,
    constraint wallets_customer_key unique (customer, currency),
    constraint wallets_customer_fkey foreign key (customer) references metering.customers (customer),
    constraint wallets_currency_check check (currency ~ '^[A-Z]{3}$'),
    constraint wallets_pending_check check (pending >= 0),
    constraint wallets_balance_check check (balance >= pending)
) with (fillfactor = 50);

create table metering.wallet_changes (
    wallet_id bigint not null,
    id bigint generated always as identity,
    balance bigint not null,
    pending bigint not null,
    constraint wallet_changes_pkey primary key (wallet_id, id)
);

create table metering.wallet_entries (
    id bigint generated always as identity primary key,
    wallet_id bigint not null,
    amount bigint not null,
    kind text not null,
    job_id uuid,
    job_type text,
    reference text,
    note text,
    created_at timestamptz not null default clock_timestamp(),
    created_by text not null default session_user,
    constraint wallet_entries_kind_check check (kind in ('deposit', 'charge', 'refund', 'adjustment')),
    constraint wallet_entries_amount_check check (
        case kind when 'charge' then amount < 0 when 'adjustment' then amount <> 0 else amount > 0 end),
    constraint wallet_entries_job_id_check check ((job_id is not null) = (kind in ('charge', 'refund'))),
    constraint wallet_entries_reference_check check (length(reference) between 1 and 255),
    constraint wallet_entries_note_check check (length(note) between 1 and 1000)
);
create index wallet_entries_wallet_id_idx on metering.wallet_entries (wallet_id, id);
create index wallet_entries_job_id_idx on metering.wallet_entries (job_id) where job_id is not null;
-- A payment that is reported twice is entered once.
create unique index wallet_entries_reference_key on metering.wallet_entries (wallet_id, reference) where reference is not null;

-- What unfinished jobs will cost. The row goes when its job finishes: that is why none is charged twice.
create table metering.reservations (
    job_id uuid not null,
    wallet_id bigint not null,
    amount bigint not null,
    job_type text not null,
    constraint reservations_pkey primary key (job_id),
    constraint reservations_amount_check check (amount > 0)
);

-- Jobs that wait for money, in the order in which they get it.
create table metering.holds (
    wallet_id bigint not null,
    id bigint generated always as identity,
    job_id uuid not null,
    amount bigint not null,
    job_type text not null,
    held_at timestamptz not null default clock_timestamp(),
    constraint holds_pkey primary key (wallet_id, id),
    constraint holds_job_id_key unique (job_id),
    constraint holds_amount_check check (amount > 0)
);

create table metering.prices (
    job_type text primary key,
    cost bigint not null,
    currency text not null,
    on_insufficient text not null default 'refuse',
    constraint prices_job_type_check check (length(job_type) between 1 and 100),
    constraint prices_cost_check check (cost between 0 and 1000000000000000),
    constraint prices_currency_check check (currency ~ '^[A-Z]{3}$'),
    constraint prices_on_insufficient_check check (on_insufficient in ('refuse', 'hold'))
);

alter table metering.wallet_changes set (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_cost_delay = 0, vacuum_truncate = false);
alter table metering.reservations set (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000,
    autovacuum_vacuum_cost_delay = 0, vacuum_truncate = false);

-- For viewers who are confined to a tenant. It does not hold for the owner, as whom our functions run.
alter table metering.customers enable row level security;
create policy customers_tenant on metering.customers
    using ((select pgqueue.current_tenant()) is null or tenant_id = (select pgqueue.current_tenant()));
alter table metering.wallets enable row level security;
create policy wallets_tenant on metering.wallets
    using ((select pgqueue.current_tenant()) is null
        or (select true from metering.customers c where c.customer = wallets.customer));
do $$
declare
    v_table text;
begin
    foreach v_table in array array['wallet_changes', 'wallet_entries', 'reservations', 'holds'] loop
        execute format('alter table metering.%I enable row level security', v_table);
        execute format('create policy %I on metering.%I using ((select pgqueue.current_tenant()) is null'
            ' or (select true from metering.wallets w where w.id = %I.wallet_id))', v_table || '_tenant', v_table, v_table);
    end loop;
end
$$;

comment on schema metering is 'Charging for jobs: look at metering.wallet_status, wallet_statement and revenue.';

comment on table metering.customers is 'Who pays for jobs. Change it with metering.set_customer().';
comment on column metering.customers.customer is 'As jobs name it: headers {"customer": ...}.';
comment on column metering.customers.name is 'For people.';
comment on column metering.customers.tenant_id is 'Only jobs of this tenant can name the customer; NULL = only those without a tenant.';
comment on column metering.customers.on_insufficient is 'refuse or hold, for all of his jobs; NULL = as the price of the job type says.';
comment on column metering.customers.created_at is 'Since when.';

comment on table metering.wallets is 'One per customer and currency, as of the last settling: wallet_status is what is true now.';
comment on column metering.wallets.id is 'Wallets are locked in this order.';
comment on column metering.wallets.customer is 'Whose it is.';
comment on column metering.wallets.currency is 'ISO 4217.';
comment on column metering.wallets.balance is 'Minor units, without what is in wallet_changes.';
comment on column metering.wallets.pending is 'Reserved by unfinished jobs, without what is in wallet_changes.';

comment on table metering.wallet_changes is 'Appended by deposits and finished jobs, added to the wallet and deleted by the next settling.';
comment on column metering.wallet_changes.wallet_id is 'The wallet.';
comment on column metering.wallet_changes.id is 'In order of arrival.';
comment on column metering.wallet_changes.balance is 'To be added to its balance.';
comment on column metering.wallet_changes.pending is 'To be added to pending.';

comment on table metering.wallet_entries is 'The ledger: appended to, never changed. A balance is the sum of its entries. Nothing removes them.';
comment on column metering.wallet_entries.id is 'The order of the entries of a wallet.';
comment on column metering.wallet_entries.wallet_id is 'The wallet.';
comment on column metering.wallet_entries.amount is 'Minor units; charges are negative.';
comment on column metering.wallet_entries.kind is 'deposit, charge, refund or adjustment.';
comment on column metering.wallet_entries.job_id is 'Of charges and refunds; the job may be gone by retention.';
comment on column metering.wallet_entries.job_type is 'Its type.';
comment on column metering.wallet_entries.reference is 'Unique in the wallet: the same payment is entered once.';
comment on column metering.wallet_entries.note is 'Why.';
comment on column metering.wallet_entries.created_at is 'When it was entered.';
comment on column metering.wallet_entries.created_by is 'The login that entered it; of a charge, the worker''s.';

comment on table metering.reservations is 'What unfinished jobs will cost.';
comment on column metering.reservations.job_id is 'The job.';
comment on column metering.reservations.wallet_id is 'Who pays.';
comment on column metering.reservations.amount is 'Minor units.';
comment on column metering.reservations.job_type is 'Its type.';

comment on table metering.holds is 'Jobs that wait for money: blocked until their customer can pay, first come first served.';
comment on column metering.holds.wallet_id is 'Who is to pay.';
comment on column metering.holds.id is 'The order in which they go.';
comment on column metering.holds.job_id is 'The job.';
comment on column metering.holds.amount is 'What it needs, minor units.';
comment on column metering.holds.job_type is 'Its type.';
comment on column metering.holds.held_at is 'Since when.';

comment on table metering.prices is 'What jobs cost. Change it with metering.set_price() and remove_price().';
comment on column metering.prices.job_type is 'The type.';
comment on column metering.prices.cost is 'Minor units.';
comment on column metering.prices.currency is 'Which of the customer''s wallets pays.';
comment on column metering.prices.on_insufficient is 'refuse: the INSERT fails with PQ009. hold: the job waits for money.';
-- In words, for metering.set_price().
comment on constraint prices_job_type_check on metering.prices is 'job_type must have 1 to 100 characters';
comment on constraint prices_cost_check on metering.prices is 'cost must be from 0 to 10^15 minor units';
comment on constraint prices_currency_check on metering.prices is 'currency must be three capital letters, as EUR';
comment on constraint prices_on_insufficient_check on metering.prices is 'on_insufficient must be refuse or hold';
