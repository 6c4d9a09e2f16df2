-- What the application keeps itself
insert into engine.assets (symbol, name, quantity)
values ('ACME', 'Acme shares', 1200), ('BOND-27', 'Bond 2027', 50), ('GOLD', 'Gold, gram', 311.5)
on conflict (symbol) do nothing;

-- As .NET sends it: PascalCase, a string through the inbox; one order of three names what is no asset
insert into pgqueue.inbox (job_type, payload, idempotency_key, notify)
values ('create_orders', '{"Orders": [
    {"Reference": "SO-1001", "CustomerId": "0199c3a2-7d52-7000-8a3b-1f2e3d4c5b6a", "Currency": "EUR",
     "Lines": [{"Symbol": "ACME", "Quantity": 10}, {"Symbol": "GOLD", "Quantity": 2.5}]},
    {"Reference": "SO-1002", "CustomerId": "0199c3a2-7d52-7000-8a3b-1f2e3d4c5b6b", "Currency": "USD",
     "Lines": [{"Symbol": "GOLD", "Quantity": 1}]},
    {"Reference": "SO-1003", "CustomerId": "0199c3a2-7d52-7000-8a3b-1f2e3d4c5b6b", "Currency": "EUR",
     "Lines": [{"Symbol": "TULIP", "Quantity": 1}]}]}', 'orders-1001-1003', true)
returning id, inserted, status;

insert into pgqueue.inbox (job_type, payload)
values ('calculate_asset_values', '{"Currency": "EUR", "ValuedOn": "2026-01-31"}')
returning id, inserted, status;
