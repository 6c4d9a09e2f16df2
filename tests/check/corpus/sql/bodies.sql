-- Bodies between $$, COPY, commands of psql, what is ignored.
create function shop.order_placed() returns trigger language plpgsql as $body$
declare
    v_id uuid;
begin
    insert into pgqueue.jobs (job_typ, payload)  -- expect: missing-job-type, unknown-column
    values ('send_mail', '{"to": "a"}');
    if new.total > 1000 then
        insert into pgqueue.jobs (queue) values ('big');  -- expect: missing-job-type
    else
        perform pgqueue.enqueue();  -- expect: function-arguments
    end if;
    v_id := pgqueue.enqueu('send_mail');  -- expect: unknown-function
    update pgqueue.running set progress = 50;  -- expect: function-owned
    notify pgqueue;  -- expect: hand-notify
    return new;
end
$body$;
\copy pgqueue.jobs from 'jobs.csv' csv -- expect: no-column-list
copy pgqueue.jobs (job_type, kind) from stdin;  -- expect: unknown-column
send_mail	x
\.
copy pgqueue.ready (job_id) from stdin;  -- expect: function-owned
\.
-- pgqueue-check: ignore[function-owned]
delete from pgqueue.finished;
delete from pgqueue.finished;  -- pgqueue-check: ignore
-- pgqueue-check: ignore[hand-notify]
-- expect: function-owned
delete from pgqueue.finished;
select pgqueue.enqueue('send_mail', '{"to": "a"}', p_prioritty => 1) \gset -- expect: function-arguments
