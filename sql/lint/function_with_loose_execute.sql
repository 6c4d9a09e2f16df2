-- Dynamic SQL that is neither one literal nor built by format(): the place where a name or value could become code.
select p.oid::regprocedure || ': ' || x.statement[1] as problem
from pg_catalog.pg_proc p
join pg_catalog.pg_language l on l.oid = p.prolang and l.lanname = 'plpgsql'
cross join lateral regexp_matches(regexp_replace(p.prosrc, '--[^\n]*', '', 'g'),
    '\mexecute\s+(?!format\s*\(|''[^'']*''\s*(?:;|\musing\M|\minto\M))[^;]*', 'gi') as x (statement)
where p.pronamespace = 'pgqueue'::regnamespace
order by 1;
