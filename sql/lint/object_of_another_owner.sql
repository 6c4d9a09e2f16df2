-- An object whose owner is not the schema's: the next install could not replace it.
select c.oid::regclass::text as problem
from pg_catalog.pg_class c
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where n.nspname = 'pgqueue' and c.relowner <> n.nspowner and c.relkind in ('r', 'v', 'S', 'p')
union all
select p.oid::regprocedure::text
from pg_catalog.pg_proc p
join pg_catalog.pg_namespace n on n.oid = p.pronamespace
where n.nspname = 'pgqueue' and p.proowner <> n.nspowner
order by 1;
