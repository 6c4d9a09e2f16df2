-- What came of it: what failed costs nothing
select j.job_type, j.priority, j.status, j.charged, j.result, j.errors -> 0 ->> 'message' as error
from my_key, marketplace.my_jobs(key) j order by j.job_id;

-- The report
select marketplace.my_report(key, j.job_id) from my_key, marketplace.my_jobs(key) j where j.job_type = 'render_report';

-- The statement
select s.kind, s.amount, s.balance, s.currency, s.job_type, s.reference from my_key, marketplace.my_statement(key) s;
