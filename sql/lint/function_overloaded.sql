-- Two functions of one name: a caller's untyped literal may pick either, and grants by name become ambiguous.
select p.proname as problem
from pg_catalog.pg_proc p
where p.pronamespace = 'pgqueue'::regnamespace
group by p.proname
having count(*) > 1
order by 1;
