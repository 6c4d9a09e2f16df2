-- How they ended, and what they created
select job_type, status, result, metrics, created
from pgqueue.job_status
order by id;

-- What was refused
select s.job_type, e.item ->> 'reference' as reference, e.item ->> 'field' as field, e.code, e.message
from pgqueue.job_status s
cross join jsonb_to_recordset(s.errors) as e (item jsonb, code text, message text)
order by s.id;

select o.reference, o.currency, l.symbol, l.quantity, l.unit_price, l.amount, o.total
from engine.orders o
join engine.order_lines l on l.order_id = o.order_id
order by o.reference, l.line;

select symbol, valued_on, currency, quantity, unit_price, value
from engine.valuations
order by symbol;
