-- A CHECK whose name PostgreSQL made up (table_column_check1, table_check): callers branch on ConstraintName, so every
-- constraint is named <table>_<what>_check on purpose, and what it names is a column, or column and what of it.
select c.conrelid::regclass || '.' || c.conname as problem
from pg_catalog.pg_constraint c
join pg_catalog.pg_class t on t.oid = c.conrelid
where c.connamespace = 'pgqueue'::regnamespace and c.contype = 'c'
    and (c.conname ~ '_check\d+$' or c.conname = t.relname || '_check'
        or not c.conname like t.relname || '\_%\_check')
order by 1;
