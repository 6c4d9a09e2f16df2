-- A table or view, or a column that a user sees, of which \d+ says nothing. The tables behind the views need no comments per column.
select c.oid::regclass || coalesce('.' || a.attname, '') as problem
from pg_catalog.pg_class c
left join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    and c.relname not in ('ready', 'scheduled', 'blocked', 'running', 'finished', 'attempts', 'stats', 'stats_log')
where c.relnamespace = 'pgqueue'::regnamespace and c.relkind in ('r', 'v', 'p')
    and (obj_description(c.oid, 'pg_class') is null
        or (a.attnum is not null and col_description(c.oid, a.attnum) is null))
order by 1;
