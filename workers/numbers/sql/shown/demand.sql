-- By the API: a work and the demand for it in one transaction
select numbers.create_work(100) as work_code;

-- By a plain INSERT: the consumer makes the work
insert into pgqueue.jobs (job_type, payload)
values
    ('work_demand', '{"add_up_to": 10, "done": false}'),
    ('work_demand', '{"add_up_to": 1000000000, "done": false}'),
    ('work_demand', '{"add_up_to": -1, "done": false}')
returning id, payload;

-- By the producer: its schedule runs now instead of in five minutes
select pgqueue.run_schedule_now('produce_demands') is not null as runs;
