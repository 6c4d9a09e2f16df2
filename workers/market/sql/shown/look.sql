-- The ranking: the coin without a rank is not in it
select asset_id, rank, symbol, price, market_cap from market.asset_rankings order by rank limit 5;

-- Prices, to the minute
select asset_id, "timestamp", price, currency from market.asset_prices order by price desc limit 3;

-- Contracts
select chain, count(*) as contracts, min(contract_address) as example from market.asset_contracts group by chain order by contracts desc;

-- The first attempt was told to come later
select s.job_type, a.attempt, a.outcome, a.error ->> 'message' as error
from pgqueue.attempts a
join pgqueue.job_status s on s.id = a.job_id;
