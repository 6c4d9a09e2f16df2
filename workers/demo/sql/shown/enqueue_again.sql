insert into pgqueue.jobs (job_type, payload)
values ('import_prices', '{"file": "prices.csv"}')
returning id, job_type;
