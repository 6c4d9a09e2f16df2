-- Created at first, skipped afterwards
select job_type, status, attempt, metrics from pgqueue.job_status order by job_type, id;
