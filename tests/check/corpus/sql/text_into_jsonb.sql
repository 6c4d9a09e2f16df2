insert into pgqueue.jobs (job_type, payload)
values ('send_mail',
    $1);  -- expect: text-into-jsonb

select pgqueue.enqueue('send_mail',
    $1);  -- expect: text-into-jsonb
