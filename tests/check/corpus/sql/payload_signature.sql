insert into pgqueue.jobs (job_type, payload)
values ('send_mail',
    '{"to": 7}');  -- expect: payload-signature

select pgqueue.enqueue('send_mail',
    '{"to": "a@example.com", "colour": 1}');  -- expect: payload-signature

insert into pgqueue.jobs (job_type)
values ('send_mail');  -- expect: payload-signature
