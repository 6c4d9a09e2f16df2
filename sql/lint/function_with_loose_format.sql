-- format() with %s in dynamic SQL: %I quotes a name, %L a literal, %s nothing. Only enable_tenants() may (its own constants).
select p.oid::regprocedure || ': ' || x.statement[1] as problem
from pg_catalog.pg_proc p
cross join lateral regexp_matches(regexp_replace(p.prosrc, '--[^\n]*', '', 'g'),
    '\mexecute\s+format\s*\(\s*''[^'']*%s[^'']*''', 'gi') as x (statement)
where p.pronamespace = 'pgqueue'::regnamespace and p.proname <> 'enable_tenants'
order by 1;
