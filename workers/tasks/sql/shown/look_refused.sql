-- They failed at once, and say why
select job_type, status, errors -> 0 ->> 'code' as code, errors -> 0 ->> 'message' as message
from pgqueue.job_status
where status = 'failed'
order by id;
