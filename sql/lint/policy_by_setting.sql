-- A policy that asks a setting: anybody may SET it. Confinement comes from the role (current_tenant()).
select p.polrelid::regclass || ': ' || p.polname as problem
from pg_catalog.pg_policy p
join pg_catalog.pg_class c on c.oid = p.polrelid
where c.relnamespace = 'pgqueue'::regnamespace
    and concat(pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid)) ~ 'current_setting'
order by 1;
