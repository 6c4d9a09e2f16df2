-- While tenants are on: a table that knows jobs or tenants and hides no rows shows each tenant the others'. enable_tenants()
-- names every such table; workers do not belong to tenants.
select distinct c.oid::regclass as problem
from pg_catalog.pg_class c
join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
where c.relnamespace = 'pgqueue'::regnamespace and c.relkind in ('r', 'p') and not c.relrowsecurity
    and a.attname in ('job_id', 'tenant_id', 'unique_key', 'payload')
    and (select j.relrowsecurity from pg_catalog.pg_class j where j.oid = 'pgqueue.jobs'::regclass)
order by 1;
