-- A view that reads with its owner's rights: it would show every tenant's rows to all who may read it.
select c.oid::regclass as problem
from pg_catalog.pg_class c
where c.relnamespace = 'pgqueue'::regnamespace and c.relkind in ('v', 'm')
    and not coalesce('security_invoker=true' = any (c.reloptions), false)
order by 1;
