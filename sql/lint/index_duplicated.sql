-- An index whose columns begin another one's, with the same predicate: every write pays for both.
select a.indexrelid::regclass || ' is covered by ' || b.indexrelid::regclass as problem
from pg_catalog.pg_index a
join pg_catalog.pg_index b on b.indrelid = a.indrelid and b.indexrelid <> a.indexrelid
join pg_catalog.pg_class t on t.oid = a.indrelid
where t.relnamespace = 'pgqueue'::regnamespace
    and coalesce(pg_get_expr(a.indpred, a.indrelid), '') = coalesce(pg_get_expr(b.indpred, b.indrelid), '')
    and a.indexprs is null and b.indexprs is null
    and (b.indkey::text || ' ') like (a.indkey::text || ' %')
    and (not a.indisunique or (b.indkey::text = a.indkey::text and b.indisunique and a.indexrelid > b.indexrelid))
order by 1;
