-- A bare numeric in a view: clients map it to a type of their own choice.
select c.oid::regclass || '.' || a.attname as problem
from pg_catalog.pg_class c
join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum > 0
where c.relnamespace = 'pgqueue'::regnamespace and c.relkind = 'v' and a.atttypid = 'numeric'::regtype and a.atttypmod = -1
order by 1;
