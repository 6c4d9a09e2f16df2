-- A materialized view holds rows without row-level security: every tenant's, for whoever may read it.
select c.oid::regclass as problem
from pg_catalog.pg_class c
where c.relnamespace = 'pgqueue'::regnamespace and c.relkind = 'm'
order by 1;
