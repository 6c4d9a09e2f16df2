-- The p_limit largest assets of the latest day that p_source ranked, the largest first.
create or replace function market.ranked_assets(p_source text, p_limit integer)
returns table (asset_id text)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select r.asset_id
    from market.asset_rankings r
    where r.source = p_source
        and r.snapshot_date = (select max(l.snapshot_date) from market.asset_rankings l where l.source = p_source)
    order by r.rank, r.asset_id
    limit p_limit;
$$;
revoke all on function market.ranked_assets(text, integer) from public;
