-- expect: unreadable
insert into pgqueue.jobs (job_type) valeus ('send_mail');
