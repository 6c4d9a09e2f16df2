-- The application asks for the same orders once more, without the key that would have told it so
insert into pgqueue.inbox (job_type, payload)
values ('create_orders', '{"Orders": [
    {"Reference": "SO-1001", "CustomerId": "0199c3a2-7d52-7000-8a3b-1f2e3d4c5b6a", "Currency": "EUR",
     "Lines": [{"Symbol": "ACME", "Quantity": 10}, {"Symbol": "GOLD", "Quantity": 2.5}]}]}')
returning id, inserted, status;
