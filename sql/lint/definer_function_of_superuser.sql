-- A SECURITY DEFINER function that runs as a superuser: one mistake in it is the whole cluster.
select p.oid::regprocedure as problem
from pg_catalog.pg_proc p
join pg_catalog.pg_roles r on r.oid = p.proowner
where p.pronamespace = 'pgqueue'::regnamespace and p.prosecdef and r.rolsuper
order by 1;
