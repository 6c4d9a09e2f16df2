insert into pgqueue.jobs (job_type, payload, tenant_id)
values ('bulk_import', '{"kind": "products", "path": "products.csv"}', 'acme')
returning id, job_type, tenant_id;
