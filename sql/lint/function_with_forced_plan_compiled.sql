-- A function that turns a kind of plan off, and not JIT. Where no other plan is to be had, the server (before 18) adds 10,000,000,000 to
-- its cost, far above jit_above_cost, and compiles for 0.5 s what runs for 1 ms.
select p.oid::regprocedure as problem
from pg_catalog.pg_proc p
where p.pronamespace = 'pgqueue'::regnamespace
    and exists (select from unnest(p.proconfig) as s (setting) where s.setting like 'enable\_%=off')
    and not 'jit=off' = any (p.proconfig)
order by 1;
