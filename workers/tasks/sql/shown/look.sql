-- Every job and its result
select job_type, status, attempt, result from pgqueue.job_status order by id;

-- What the function wrote
select day from tasks.closed_days;
