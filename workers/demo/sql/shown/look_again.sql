-- The second import of the same file: nothing is new, nothing is written
select job_type, status, run_seconds, metrics, result
from pgqueue.job_status
where job_type = 'import_prices'
order by id;
