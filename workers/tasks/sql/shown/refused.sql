-- Not on any list
insert into pgqueue.jobs (job_type, payload) values
    ('sql_task', '{"function": "pg_terminate_backend"}'),
    ('webhook', '{"url": "http://169.254.169.254/latest/meta-data"}'),
    ('shell', '{"command": "word_count", "arguments": {"file": "../../etc/passwd"}}');
