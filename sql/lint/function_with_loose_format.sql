-- format() with %s in dynamic SQL: %I quotes a name, %L a literal, %s nothing.
select p.oid::regprocedure || ': ' || x.statement[1] as problem
from pg_catalog.pg_proc p
cross join lateral regexp_matches(regexp_replace(p.prosrc, '--[^\n]*', '', 'g'),
    '\mexecute\s+format\s*\(\s*''[^'']*%s[^'']*''', 'gi') as x (statement)
where p.pronamespace = 'pgqueue'::regnamespace
order by 1;
