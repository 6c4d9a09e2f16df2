-- Works, and what happened to each. A demand of work is a job; a work is what came of it.

comment on schema numbers is 'Demands of work, computed: an example application of pgqueue.';

create table numbers.works (
    work_code text not null,
    job_id uuid not null,
    add_up_to bigint not null,
    total bigint,
    done boolean not null default false,
    created_on timestamptz not null default clock_timestamp(),
    updated_on timestamptz not null default clock_timestamp(),
    constraint works_pkey primary key (work_code),
    constraint works_work_code_check check (work_code ~ '^(api|consumer)-.+$' and length(work_code) <= 100),
    -- The sum up to it fits a bigint with room to spare.
    constraint works_add_up_to_check check (add_up_to between 0 and 1000000000),
    constraint works_total_check check (done = (total is not null))
);
create index works_created_on_idx on numbers.works (created_on, work_code);
comment on table numbers.works is 'One row per work; numbers.search_works() finds them by time.';
comment on column numbers.works.work_code is 'api-... = asked for by numbers.create_work(); consumer-... = made by the consumer of a bare demand.';
comment on column numbers.works.job_id is 'The job that demanded it.';
comment on column numbers.works.add_up_to is 'The numbers from 0 up to this one are added.';
comment on column numbers.works.total is 'Their sum; null until it is done.';
comment on column numbers.works.done is 'Whether it has been computed.';
comment on column numbers.works.created_on is 'When the row was made.';
comment on column numbers.works.updated_on is 'When it last changed.';

create table numbers.work_events (
    work_code text not null references numbers.works on delete cascade,
    event_number bigint generated always as identity,
    event text not null,
    attempt integer,
    created_on timestamptz not null default clock_timestamp(),
    constraint work_events_pkey primary key (work_code, event_number),
    constraint work_events_event_check check (event in ('created', 'started', 'finished', 'refused'))
);
comment on table numbers.work_events is 'What happened to a work, in order of event_number.';
comment on column numbers.work_events.work_code is 'The work.';
comment on column numbers.work_events.event_number is 'Grows.';
comment on column numbers.work_events.event is 'created, started, finished; refused = it was done already, the demand came again.';
comment on column numbers.work_events.attempt is 'The attempt of the job that it happened in.';
comment on column numbers.work_events.created_on is 'When.';
