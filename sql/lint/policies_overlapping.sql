-- Two permissive policies for the same command and role: either of them lets a row through, and both are computed for each row.
select a.polrelid::regclass || ': ' || a.polname || ' and ' || b.polname as problem
from pg_catalog.pg_policy a
join pg_catalog.pg_policy b on b.polrelid = a.polrelid and b.polname > a.polname
join pg_catalog.pg_class c on c.oid = a.polrelid
where c.relnamespace = 'pgqueue'::regnamespace and a.polpermissive and b.polpermissive
    and (a.polcmd = b.polcmd or '*' in (a.polcmd, b.polcmd))
    and (a.polroles && b.polroles or 0 = any (a.polroles || b.polroles))
order by 1;
