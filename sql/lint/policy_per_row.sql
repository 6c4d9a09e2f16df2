-- A policy that calls a function for every row instead of once, as (select f()): 415 ms instead of 14 for 300,000 rows.
select p.polrelid::regclass || ': ' || p.polname as problem
from pg_catalog.pg_policy p
join pg_catalog.pg_class c on c.oid = p.polrelid
cross join lateral (values (concat_ws(' ', pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid)))) e (rule)
where c.relnamespace = 'pgqueue'::regnamespace
    and regexp_replace(e.rule, 'SELECT\s+(pgqueue\.)?\w+\(', '', 'gi') ~ '(pgqueue\.\w+|current_\w+)\s*\('
order by 1;
