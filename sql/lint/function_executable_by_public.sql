-- A function that anybody may call. EXECUTE is granted to PUBLIC by default: every function needs its own REVOKE.
select p.oid::regprocedure as problem
from pg_catalog.pg_proc p
where p.pronamespace = 'pgqueue'::regnamespace
    and (p.proacl is null or exists (select from aclexplode(p.proacl) a where a.grantee = 0))
order by 1;
