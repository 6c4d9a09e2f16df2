insert into pgqueue.jobs (job_type)
values ('send_mial');  -- expect: unknown-job-type

select pgqueue.enqueue(
    'sendmail');  -- expect: unknown-job-type
