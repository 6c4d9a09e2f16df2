insert into pgqueue."Jobs" (job_type) values ('send_mail');  -- expect: unknown-relation

select status from pgqueue.job_statuses where id = $1;  -- expect: unknown-relation
