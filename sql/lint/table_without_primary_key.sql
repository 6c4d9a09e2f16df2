-- A table without a primary key cannot be replicated logically or repaired row by row. stats_log is append-only; the key of
-- stats has NULLs and is a unique index.
select c.oid::regclass as problem
from pg_catalog.pg_class c
where c.relnamespace = 'pgqueue'::regnamespace and c.relkind in ('r', 'p')
    and c.relname not in ('stats', 'stats_log')
    and not exists (select from pg_catalog.pg_constraint k where k.conrelid = c.oid and k.contype = 'p')
order by 1;
