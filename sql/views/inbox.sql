-- The door for clients that send strings: INSERT only. It shows no row, so that nothing can be read through it.
create or replace view pgqueue.inbox with (security_invoker = true) as
select
    null::uuid as id,
    null::text as job_type,
    null::text as queue,
    null::smallint as priority,
    null::text as payload,
    null::timestamptz as run_at,
    null::timestamptz as expires_at,
    null::integer as max_attempts,
    null::interval as timeout,
    null::text as idempotency_key,
    null::text as unique_key,
    null::text as tenant_id,
    null::text as headers,
    null::boolean as notify,
    null::text as feed,
    null::text as callback_url,
    null::text as on_duplicate,
    null::boolean as inserted,
    null::text as status,
    null::uuid[] as depends_on,
    null::text as on_parent_failure,
    null::text as concurrency_key,
    null::text as ordering_key,
    null::text as ordering_on_failure,
    null::uuid as batch_id,
    null::timestamptz as deadline_at
where false;

create or replace trigger inbox_inserted
    instead of insert on pgqueue.inbox
    for each row execute function pgqueue.inbox_inserted();

comment on view pgqueue.inbox is
    'INSERT jobs here with strings: payload and headers are text, NULL and zero values mean default, a duplicate returns the existing id. It shows no rows: see pgqueue.job_status.';
comment on column pgqueue.inbox.id is 'Returned: the job that serves the request. May be supplied; NULL and the nil UUID = a new one.';
comment on column pgqueue.inbox.job_type is 'Names the handler.';
comment on column pgqueue.inbox.queue is 'NULL or empty = its type''s, else default.';
comment on column pgqueue.inbox.priority is '0 high, 1 normal, 2 low, 3 bulk; NULL = 1.';
comment on column pgqueue.inbox.payload is 'A JSON object as text; NULL or empty = {}.';
comment on column pgqueue.inbox.run_at is 'Not before this; NULL, -infinity and the year 1 = at once.';
comment on column pgqueue.inbox.expires_at is 'It does not start after this; NULL, -infinity and the year 1 = never expires.';
comment on column pgqueue.inbox.max_attempts is 'Attempts allowed; NULL or 0 = its type''s.';
comment on column pgqueue.inbox.timeout is 'Time limit of an attempt; NULL or 0 = its type''s.';
comment on column pgqueue.inbox.idempotency_key is 'A second INSERT with this key returns the same job, inserted = false. NULL or empty = none.';
comment on column pgqueue.inbox.unique_key is 'At most one unfinished job has this key: see on_duplicate. NULL or empty = none.';
comment on column pgqueue.inbox.tenant_id is 'Whose job it is; NULL or empty = the session''s tenant.';
comment on column pgqueue.inbox.headers is 'A JSON object as text; NULL or empty = none.';
comment on column pgqueue.inbox.notify is 'True: NOTIFY pgqueue_finished with its id when it finishes.';
comment on column pgqueue.inbox.feed is 'When it finishes, pgqueue.take_completions(feed) hands it out. NULL or empty = none.';
comment on column pgqueue.inbox.callback_url is 'When it finishes, a signed POST goes there. NULL or empty = none.';
comment on column pgqueue.inbox.on_duplicate is 'What becomes of the unfinished job with the same unique_key: ignore (NULL or empty), replace, debounce or merge.';
comment on column pgqueue.inbox.inserted is 'Returned: false = an earlier job serves the request.';
comment on column pgqueue.inbox.status is 'Returned: where that job stands.';
comment on column pgqueue.inbox.depends_on is 'It is blocked until these jobs have succeeded. NULL or empty = none.';
comment on column pgqueue.inbox.on_parent_failure is 'When one of them does not: fail (NULL or empty) or run.';
comment on column pgqueue.inbox.concurrency_key is 'Counted together by limits of kind key. NULL or empty = none.';
comment on column pgqueue.inbox.ordering_key is 'Jobs with this key run one after another, in order of arrival. NULL or empty = none.';
comment on column pgqueue.inbox.ordering_on_failure is 'When it fails, those after it: skip it (NULL or empty) or block.';
comment on column pgqueue.inbox.batch_id is 'The batch that it belongs to. NULL and the nil UUID = none.';
comment on column pgqueue.inbox.deadline_at is 'It finishes by this time or fails; NULL, -infinity and the year 1 = none.';
