-- A foreign key whose columns begin no index: every DELETE of the other side reads the whole table.
select k.conrelid::regclass || '.' || k.conname as problem
from pg_catalog.pg_constraint k
where k.connamespace = 'pgqueue'::regnamespace and k.contype = 'f'
    and not exists (
        select from pg_catalog.pg_index i
        where i.indrelid = k.conrelid and i.indpred is null
            and (i.indkey::int2[])[0:cardinality(k.conkey) - 1] @> k.conkey)
order by 1;
