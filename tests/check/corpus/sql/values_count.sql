insert into pgqueue.jobs (job_type, queue)
values ('send_mail', 'mail'),
    ('send_mail');  -- expect: values-count

insert into pgqueue.jobs (job_type)
select 'send_mail', 'mail';  -- expect: values-count
