-- A sequence that a role other than its owner may use or read: tokens and positions are drawn by functions, and their values tell
-- one tenant how much the others do.
select c.oid::regclass || ' to ' || coalesce(nullif(a.grantee, 0)::regrole::text, 'public') as problem
from pg_catalog.pg_class c
cross join lateral aclexplode(c.relacl) a
where c.relnamespace = 'pgqueue'::regnamespace and c.relkind = 'S' and a.grantee <> c.relowner
order by 1;
