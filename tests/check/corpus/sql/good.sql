-- What the README shows, and more: no finding.
\set ON_ERROR_STOP on
\timing on
insert into pgqueue.jobs (job_type, payload) values ('send_mail', '{"to": "a@example.com"}') returning id;
insert into pgqueue.jobs as j (job_type, payload, run_at)
select 'send_mail', jsonb_build_object('to', c.mail), now() + interval '5 minutes' from customers c
on conflict do nothing;
insert into pgqueue.jobs (job_type, payload, idempotency_key) values (:'kind', :'payload'::jsonb, :key)
on conflict (tenant_id, idempotency_key) where idempotency_key is not null do nothing;
insert into pgqueue.jobs (id, job_type, payload) values (gen_random_uuid(), 'send_mail', '{"to": "a"}') on conflict (id) do nothing;
insert into pgqueue.jobs (id, job_type, payload) values (gen_random_uuid(), 'send_mail', '{"to": "a"}') on conflict on constraint jobs_pkey do nothing;
insert into "pgqueue"."jobs" ("job_type", payload, priority) values ('send_mail', '{"to": "it''s; -- a \\g"}', default);
insert into pgqueue.inbox (job_type, payload, priority) values ($1, $2, null) on conflict do nothing returning id, inserted;
insert into jobs (whatever) values (1);
/* insert into pgqueue.jobs (oops) values (1); /* nested */ */
select pgqueue.enqueue('send_mail', '{"to": "a"}', p_unique_key => 'k', p_on_duplicate := 'replace') \gset
select * from pgqueue.enqueue_many('[{"job_type": "send_mail"}]') \g /dev/null
select pgqueue.cancel(id) from pgqueue.job_status where status = 'queued';
listen pgqueue;
select pg_notify('shop', 'pgqueue.jobs');
select 'update pgqueue.jobs set x' as text;
\copy pgqueue.jobs (job_type, payload) from 'jobs.csv' csv
copy pgqueue.jobs (job_type, payload) from stdin;
send_mail	{"to": "insert into pgqueue.jobs (oops) values (1);"}
\.
do $$
declare
    v_id uuid;
begin
    if true then
        insert into pgqueue.jobs (job_type, payload) values ('send_mail', '{"to": "a"}') returning id into v_id;
    end if;
    v_id := pgqueue.enqueue('send_mail', '{"to": "a"}');
    perform pgqueue.cancel(v_id, case when true then 'a' else 'b' end);
end
$$;
