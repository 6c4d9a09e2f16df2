insert into pgqueue.jobs (job_type, payload)
values
    ('import_prices', '{"file": "prices.csv", "pause_seconds": 0.4}'),
    ('send_reminder', '{"email": "ada@example.org", "invoice": "2025-0917"}')
returning id, job_type;
