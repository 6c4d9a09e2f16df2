-- What is sold.

-- Sell jobs of a type, or change how. p_cost: minor units, from the next order on. p_enabled false: orders are refused, those that came
-- before are worked off. p_on_insufficient: 'refuse' orders that the wallet cannot pay, or 'hold' them until it can.
create or replace function marketplace.set_job_type(
    p_job_type text,
    p_title text,
    p_cost bigint,
    p_currency text default 'EUR',
    p_enabled boolean default true,
    p_on_insufficient text default 'refuse',
    p_payload_bytes_max integer default 100000
)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    insert into marketplace.job_types (job_type, title, payload_bytes_max)
    values (p_job_type, p_title, p_payload_bytes_max)
    on conflict (job_type) do update set title = excluded.title, payload_bytes_max = excluded.payload_bytes_max;
    -- Attempts and times stay as the handler declares them, unless an operator has taken them over.
    perform pgqueue.set_job_type(p_job_type, p_enabled => p_enabled, p_operator_managed => coalesce(
        (select q.operator_managed from pgqueue.job_types q where q.job_type = p_job_type), false));
    perform metering.set_price(p_job_type, p_cost, p_currency, p_on_insufficient);
end
$$;
revoke all on function marketplace.set_job_type(text, text, bigint, text, boolean, text, integer) from public;

-- What is sold, at which cost.
create or replace function marketplace.price_list()
returns table (job_type text, title text, standard_cost bigint, currency text, enabled boolean, payload_bytes_max integer)
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
    select t.job_type, t.title, p.cost, p.currency, q.enabled, t.payload_bytes_max
    from marketplace.job_types t
    join metering.prices p on p.job_type = t.job_type
    join pgqueue.job_types q on q.job_type = t.job_type
    order by t.job_type;
$$;
revoke all on function marketplace.price_list() from public;
