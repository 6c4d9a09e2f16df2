-- How they ended
select job_type, status, run_seconds, result, result_url is not null as has_url
from pgqueue.job_status
order by id;

-- The rows that were refused
select s.job_type, e.item ->> 'row' as row, e.item ->> 'field' as field, e.code, e.message
from pgqueue.job_status s
cross join jsonb_to_recordset(s.errors) as e (item jsonb, code text, message text)
order by s.id, (e.item ->> 'row')::bigint;

-- What is there
select sku, name, unit, price, location, quantity, value
from warehouse.stock_report('acme');
