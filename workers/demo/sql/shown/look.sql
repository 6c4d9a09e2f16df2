-- Every job, and how it ended
select job_type, status, attempt, progress, run_seconds, metrics
from pgqueue.job_status
order by id;

-- The rows that the import refused: the errors of a partial job
select e.item as line, e.code, e.message
from pgqueue.job_status s
cross join jsonb_to_recordset(s.errors) as e (item integer, code text, message text)
where s.job_type = 'import_prices'
order by e.item;

-- What happened to the import and to the reminder, whose first attempt was turned away
select s.job_type, to_char(t.at, 'HH24:MI:SS.MS') as at, t.event, t.attempt, t.detail
from pgqueue.job_status s
join pgqueue.job_timeline t on t.job_id = s.id
where s.job_type in ('import_prices', 'send_reminder')
order by s.id, t.at;

-- The queue: what waits, what runs, and how long that took half of the jobs and the slowest
select queue, depth, running, scheduled, failed, finished_per_minute, wait_p50_seconds, run_p50_seconds, run_p95_seconds
from pgqueue.queue_stats;

-- What the import left in the application's own table
select currency, count(*) as prices, min(price), max(price), max(valid_from) as newest
from demo.prices
group by currency
order by prices desc;
