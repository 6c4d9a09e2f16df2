-- An extension inside our schema, or an object of ours that belongs to one: the schema needs none, and DROP EXTENSION would
-- take objects along.
select e.extname::text as problem
from pg_catalog.pg_extension e
where e.extnamespace = 'pgqueue'::regnamespace
union all
select pg_describe_object(d.classid, d.objid, d.objsubid)
from pg_catalog.pg_depend d
left join pg_catalog.pg_class c on d.classid = 'pg_class'::regclass and c.oid = d.objid
left join pg_catalog.pg_proc p on d.classid = 'pg_proc'::regclass and p.oid = d.objid
where d.deptype = 'e' and 'pgqueue'::regnamespace in (c.relnamespace, p.pronamespace)
order by 1;
