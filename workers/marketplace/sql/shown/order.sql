-- A customer orders by his key: the last is urgent, and goes first
select marketplace.submit(key, 'render_report', '{"title": "Sales & more", "rows": [{"name": "Saws", "amount": "24.00"},
    {"name": "Tape", "amount": "2.10"}, {"name": "Ladders", "amount": "many"}]}', 2, 'order-1') as report,
    marketplace.submit(key, 'text_statistics', '{"text": "Ready. Steady? Go, go, go!", "top": 1}', 1) as statistics,
    marketplace.submit(key, 'text_statistics', '{"text": "..."}', 1) as of_nothing,
    marketplace.submit(key, 'prime_search', '{"start": 0, "end": 100000}', 0) as search
from my_key;

-- Another search would take more than is left: it waits for money. The same reference again is the same job
select marketplace.submit(key, 'prime_search', '{"start": 1000000, "end": 1100000}', 0) as waits,
    marketplace.submit(key, 'render_report', '{}', 2, 'order-1') as same_report
from my_key;

-- Reserved, not spent
select w.* from my_key, marketplace.my_wallet(key) w;
