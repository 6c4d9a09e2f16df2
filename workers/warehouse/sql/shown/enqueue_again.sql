-- The same file again; a report; and the stock of an API, page by page
insert into pgqueue.jobs (job_type, payload, tenant_id)
values
    ('bulk_import', '{"kind": "products", "path": "products.csv"}', 'acme'),
    ('export_report', '{"report": "stock"}', 'acme'),
    ('sync_stock', '{}', 'acme')
returning id, job_type, tenant_id;
