-- A SECURITY DEFINER function that builds SQL: whatever slips into the text runs with the owner's rights.
select p.oid::regprocedure as problem
from pg_catalog.pg_proc p
where p.pronamespace = 'pgqueue'::regnamespace and p.prosecdef
    and regexp_replace(p.prosrc, '--[^\n]*', '', 'g') ~* '\mexecute\M'
order by 1;
