-- A function whose search_path the caller chooses: his temp schema could put a table or an operator in front of ours.
-- A body in BEGIN ATOMIC form is bound to its objects when it is created, and needs none.
select p.oid::regprocedure as problem
from pg_catalog.pg_proc p
where p.pronamespace = 'pgqueue'::regnamespace
    and p.prosqlbody is null
    and not coalesce('search_path=pg_catalog, pg_temp' = any (p.proconfig), false)
order by 1;
