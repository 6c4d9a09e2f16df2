-- Works of the last hour
select substr(work_code, 1, 17) || '...' as work_code, add_up_to, total, done, updated_on - created_on as took
from numbers.search_works(now() - interval '1 hour', now());

-- What happened to the first of them
select e.event, e.attempt, to_char(e.created_on, 'HH24:MI:SS.MS') as at
from numbers.work_events e
where e.work_code = (select w.work_code from numbers.search_works(now() - interval '1 hour', now()) w limit 1)
order by e.event_number;

-- The demand that makes no sense
select job_type, status, attempt, errors
from pgqueue.job_status
where status = 'failed';
