-- LEAKPROOF lets the planner run a function before row-level security has hidden the rows of other tenants.
select p.oid::regprocedure as problem
from pg_catalog.pg_proc p
where p.pronamespace = 'pgqueue'::regnamespace and p.proleakproof
order by 1;
