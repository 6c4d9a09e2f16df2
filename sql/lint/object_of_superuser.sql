-- An object that belongs to a superuser: triggers and views of it act for him. prepare.sql gives all of them to pgqueue_owner.
select c.oid::regclass::text as problem
from pg_catalog.pg_class c
join pg_catalog.pg_roles r on r.oid = c.relowner
where c.relnamespace = 'pgqueue'::regnamespace and c.relkind in ('r', 'v', 'S', 'p', 'm') and r.rolsuper
union all
select 'schema ' || n.nspname
from pg_catalog.pg_namespace n
join pg_catalog.pg_roles r on r.oid = n.nspowner
where n.nspname = 'pgqueue' and r.rolsuper
order by 1;
