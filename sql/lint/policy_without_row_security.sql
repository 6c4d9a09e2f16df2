-- A policy on a table where row-level security is off says what is not so; row-level security without a policy hides everything.
select c.oid::regclass || case when c.relrowsecurity then ' has no policy' else ' has row-level security off' end as problem
from pg_catalog.pg_class c
where c.relnamespace = 'pgqueue'::regnamespace and c.relkind in ('r', 'p')
    and c.relrowsecurity <> exists (select from pg_catalog.pg_policy p where p.polrelid = c.oid)
order by 1;
