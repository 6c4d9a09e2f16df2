-- A policy that lets every row through is none.
select p.polrelid::regclass || ': ' || p.polname as problem
from pg_catalog.pg_policy p
join pg_catalog.pg_class c on c.oid = p.polrelid
where c.relnamespace = 'pgqueue'::regnamespace and p.polpermissive
    and 'true' in (pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid))
order by 1;
