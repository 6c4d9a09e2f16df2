insert into pgqueue.jobs (job_type, payload, tenant_id)
values ('bulk_import', '{"kind": "stock_levels", "path": "stock.jsonl"}', 'acme')
returning id, job_type, tenant_id;
