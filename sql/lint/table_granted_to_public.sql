-- A table, view, column, sequence or the schema itself that anybody may use.
select c.oid::regclass::text as problem
from pg_catalog.pg_class c
where c.relnamespace = 'pgqueue'::regnamespace
    and (exists (select from aclexplode(c.relacl) a where a.grantee = 0)
        or exists (
            select from pg_catalog.pg_attribute t cross join lateral aclexplode(t.attacl) a
            where t.attrelid = c.oid and a.grantee = 0))
union all
select 'schema ' || n.nspname
from pg_catalog.pg_namespace n
where n.nspname = 'pgqueue' and exists (select from aclexplode(n.nspacl) a where a.grantee = 0)
order by 1;
