-- What the collectors keep. Each table has a natural key: a row that is fetched again is the same row.

comment on schema market is 'Market data, collected: an example application of pgqueue.';

create table market.asset_rankings (
    asset_id text not null,
    snapshot_date date not null,
    source text not null,
    symbol text not null,
    name text not null,
    rank integer not null,
    price numeric,
    market_cap numeric,
    created_at timestamptz not null default now(),
    updated_at timestamptz,
    constraint asset_rankings_pkey primary key (asset_id, snapshot_date, source),
    constraint asset_rankings_rank_check check (rank > 0)
);
create index asset_rankings_snapshot_date_idx on market.asset_rankings (source, snapshot_date, rank);
comment on table market.asset_rankings is 'The largest assets of each day, by market capitalisation.';
comment on column market.asset_rankings.asset_id is 'The source''s id.';
comment on column market.asset_rankings.snapshot_date is 'The day, in UTC.';
comment on column market.asset_rankings.source is 'Who says so.';
comment on column market.asset_rankings.symbol is 'As traded; several assets can have the same.';
comment on column market.asset_rankings.name is 'For people.';
comment on column market.asset_rankings.rank is '1 = the largest.';
comment on column market.asset_rankings.price is 'In the currency that the collector is set to; null = not known.';
comment on column market.asset_rankings.market_cap is 'The same.';
comment on column market.asset_rankings.created_at is 'When the row was first stored.';
comment on column market.asset_rankings.updated_at is 'When a later collection changed it; null = never.';

create table market.asset_prices (
    asset_id text not null,
    "timestamp" timestamptz not null,
    source text not null,
    price numeric not null,
    currency text not null,
    created_at timestamptz not null default now(),
    updated_at timestamptz,
    constraint asset_prices_pkey primary key (asset_id, "timestamp", source),
    constraint asset_prices_timestamp_check check (date_trunc('minute', "timestamp" at time zone 'UTC') = "timestamp" at time zone 'UTC')
);
comment on table market.asset_prices is 'Prices, to the minute.';
comment on column market.asset_prices.asset_id is 'The source''s id.';
comment on column market.asset_prices."timestamp" is 'When the source had this price, rounded down to the minute.';
comment on column market.asset_prices.source is 'Who says so.';
comment on column market.asset_prices.price is 'The price.';
comment on column market.asset_prices.currency is 'In what.';
comment on column market.asset_prices.created_at is 'When the row was first stored.';
comment on column market.asset_prices.updated_at is 'When a later collection changed it; null = never.';

create table market.asset_contracts (
    chain text not null,
    contract_address text not null,
    asset_id text not null,
    created_at timestamptz not null default now(),
    updated_at timestamptz,
    constraint asset_contracts_pkey primary key (chain, contract_address)
);
create index asset_contracts_asset_id_idx on market.asset_contracts (asset_id);
comment on table market.asset_contracts is 'Where an asset lives on which chain.';
comment on column market.asset_contracts.chain is 'The chain, as the source calls it.';
comment on column market.asset_contracts.contract_address is 'The address there; hexadecimal ones in lower case.';
comment on column market.asset_contracts.asset_id is 'The source''s id.';
comment on column market.asset_contracts.created_at is 'When the row was first stored.';
comment on column market.asset_contracts.updated_at is 'When a later collection changed it; null = never.';
