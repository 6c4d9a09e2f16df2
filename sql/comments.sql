-- What \d+ shows about the tables. The views carry their comments themselves.

comment on schema pgqueue is 'A job queue: insert into pgqueue.jobs, look at pgqueue.job_status, queue_stats and health.';

comment on table pgqueue.migrations is 'The migrations that have run.';
comment on column pgqueue.migrations.version is 'Number of the file in sql/migrations.';
comment on column pgqueue.migrations.name is 'Name of the file.';
comment on column pgqueue.migrations.applied_at is 'When it ran.';
comment on column pgqueue.migrations.applied_by is 'The login that ran it.';

comment on table pgqueue.app_migrations is 'The migrations of applications that have run: pgqueue migrate --app NAME.';
comment on column pgqueue.app_migrations.app is 'The application, and its schema.';
comment on column pgqueue.app_migrations.version is 'Number of the file in its folder sql.';
comment on column pgqueue.app_migrations.name is 'Name of the file.';
comment on column pgqueue.app_migrations.applied_at is 'When it ran.';
comment on column pgqueue.app_migrations.applied_by is 'The login that ran it.';

comment on table pgqueue.installed_objects is 'What the last install left in the schema: pgqueue.drift() compares.';
comment on column pgqueue.installed_objects.kind is 'function, table, view, sequence, index, constraint or trigger.';
comment on column pgqueue.installed_objects.name is 'Its name.';
comment on column pgqueue.installed_objects.fingerprint is 'Hash of its definition.';

comment on table pgqueue.settings is 'One row: what holds where a job and its type say nothing. Change it with pgqueue.set_settings().';
comment on column pgqueue.settings.only_row is 'Keeps it at one row.';
comment on column pgqueue.settings.strict_job_types is 'True: an INSERT with an unregistered job type is refused.';
comment on column pgqueue.settings.max_attempts is 'Attempts allowed.';
comment on column pgqueue.settings.backoff_base is 'Upper bound of the wait after the first failed attempt; the wait is random below it.';
comment on column pgqueue.settings.backoff_factor is 'What each further attempt multiplies it by.';
comment on column pgqueue.settings.backoff_cap is 'What it never exceeds.';
comment on column pgqueue.settings.retention is 'How long finished jobs are kept.';
comment on column pgqueue.settings.timeout_grace is 'How long after its deadline a running job is left to its worker.';

comment on table pgqueue.job_types is 'What is known about job types. Workers declare them at start; operators change them with pgqueue.set_job_type(). NULL = the setting holds.';
comment on column pgqueue.job_types.job_type is 'The type.';
comment on column pgqueue.job_types.enabled is 'False: INSERTs are refused and waiting jobs do not start.';
comment on column pgqueue.job_types.paused_at is 'Not null: its jobs do not start.';
comment on column pgqueue.job_types.paused_reason is 'Why, as given to pgqueue.pause_job_type().';
comment on column pgqueue.job_types.queue is 'Where its jobs go when their row names no queue.';
comment on column pgqueue.job_types.max_attempts is 'Attempts allowed.';
comment on column pgqueue.job_types.timeout is 'Time limit of an attempt; NULL = none.';
comment on column pgqueue.job_types.backoff_base is 'Upper bound of the wait after the first failed attempt.';
comment on column pgqueue.job_types.backoff_factor is 'What each further attempt multiplies it by.';
comment on column pgqueue.job_types.backoff_cap is 'What it never exceeds.';
comment on column pgqueue.job_types.retention is 'How long finished jobs are kept.';
comment on column pgqueue.job_types.description is 'What it does.';
comment on column pgqueue.job_types.operator_managed is 'True: what workers declare about this type is ignored.';
comment on column pgqueue.job_types.detour is 'Bits: why its jobs take the long way through route_inserted(); 0 = they need not. 128 = it has hooks.';
comment on column pgqueue.job_types.plain is 'Its jobs may take the short way: enabled, no detour, not one of pgqueue''s own.';
comment on column pgqueue.job_types.registered_at is 'When its declaration last changed.';

comment on table pgqueue.queues is 'Queues that somebody paused or described. A queue needs no row here to exist.';
comment on column pgqueue.queues.queue is 'The queue.';
comment on column pgqueue.queues.paused_at is 'Not null: its jobs do not start.';
comment on column pgqueue.queues.paused_reason is 'Why, as given to pgqueue.pause_queue().';
comment on column pgqueue.queues.description is 'What it is for.';

comment on table pgqueue.tenants is 'Logins that see one tenant''s jobs only. Change it with pgqueue.confine() and pgqueue.unconfine().';
comment on column pgqueue.tenants.role_name is 'The login.';
comment on column pgqueue.tenants.tenant_id is 'Its tenant.';

comment on table pgqueue.workers is 'Worker processes: look at pgqueue.worker_status.';
comment on column pgqueue.workers.id is 'Drawn at registration.';
comment on column pgqueue.workers.instance is 'Given by the worker, so that registering twice is registering once.';
comment on column pgqueue.workers.name is 'For people.';
comment on column pgqueue.workers.queues is 'The queues that it claims from.';
comment on column pgqueue.workers.job_types is 'The types that it claims; NULL = any.';
comment on column pgqueue.workers.lease is 'It counts as dead this long after its last heartbeat.';
comment on column pgqueue.workers.started_at is 'When it registered.';
comment on column pgqueue.workers.heartbeat_at is 'The last heartbeat.';
comment on column pgqueue.workers.draining_at is 'Since when it is to finish and stop.';
comment on column pgqueue.workers.stopped_at is 'When it said goodbye.';
comment on column pgqueue.workers.dead_at is 'When it was declared dead.';
comment on column pgqueue.workers.rescued_at is 'When the last job that it had left was taken back.';
comment on column pgqueue.workers.meta is 'What it says about itself.';

comment on table pgqueue.jobs is
    'What was asked: one row per job. INSERT here; only functions move a job afterwards. Where it stands: pgqueue.job_status.';
comment on column pgqueue.jobs.id is 'A version 7 UUID unless the client supplies one.';
comment on column pgqueue.jobs.job_type is 'Names the handler.';
comment on column pgqueue.jobs.queue is 'NULL = its type''s, else default.';
comment on column pgqueue.jobs.priority is '0 high, 1 normal, 2 low, 3 bulk.';
comment on column pgqueue.jobs.payload is 'A JSON object: the handler''s arguments.';
comment on column pgqueue.jobs.run_at is 'Not before this; NULL = as soon as the INSERT commits.';
comment on column pgqueue.jobs.expires_at is 'It does not start after this.';
comment on column pgqueue.jobs.max_attempts is 'Attempts allowed; NULL = its type''s.';
comment on column pgqueue.jobs.timeout is 'Time limit of an attempt; NULL = its type''s.';
comment on column pgqueue.jobs.idempotency_key is 'A second INSERT with this key violates jobs_idempotency_key, finished or not, for as long as the row is kept.';
comment on column pgqueue.jobs.unique_key is 'At most one unfinished job has this key (jobs_unique_key). Set back to NULL when the job finishes.';
comment on column pgqueue.jobs.tenant_id is 'Whose job it is; NULL without tenants.';
comment on column pgqueue.jobs.headers is 'A JSON object for what is not an argument: trace context and the like.';
comment on column pgqueue.jobs.notify is 'True: NOTIFY pgqueue_finished with its id when it finishes.';
comment on column pgqueue.jobs.feed is 'When it finishes, pgqueue.take_completions(feed) hands it out.';
comment on column pgqueue.jobs.callback_url is 'When it finishes, a signed POST goes there.';
comment on column pgqueue.jobs.depends_on is 'It is blocked until these jobs have succeeded; they exist or are inserted with it.';
comment on column pgqueue.jobs.on_parent_failure is 'When one of them fails or is cancelled: fail (NULL) or run, once all have finished.';
comment on column pgqueue.jobs.callback_of is 'Set by pgqueue: this job is the delivery that tells of that one.';
comment on column pgqueue.jobs.created_at is 'When it was inserted.';
comment on column pgqueue.jobs.created_by is 'The login that inserted it.';

comment on table pgqueue.ready is 'Jobs that may run now. Moved by functions only.';
comment on table pgqueue.scheduled is 'Jobs that wait for their time: run_at, backoff or snooze. Moved by functions only.';
comment on table pgqueue.blocked is 'Jobs that wait for another job. Moved by functions only.';
comment on table pgqueue.dependencies is 'What blocked jobs wait for: one row per parent that has not finished. Moved by functions only.';
comment on column pgqueue.dependencies.parent_id is 'Must finish first.';
comment on column pgqueue.dependencies.job_id is 'Waits for it.';

comment on table pgqueue.hooks is 'Functions that are called when jobs of a type are inserted, finish or run again. Change it with pgqueue.set_hook() and drop_hook().';
comment on column pgqueue.hooks.job_type is 'The type.';
comment on column pgqueue.hooks.function_schema is 'Where the function is.';
comment on column pgqueue.hooks.function_name is 'Its name; it takes (text, uuid[]), returns uuid[] and belongs to the owner of the schema pgqueue.';
comment on column pgqueue.hooks.events is 'What it hears of: insert, finish, retry, maintain.';

comment on table pgqueue.hook_calls is 'Failed and cancelled jobs whose hook raised an error when they finished: it is called again until it succeeds.';
comment on column pgqueue.hook_calls.job_id is 'The job.';
comment on column pgqueue.hook_calls.function_schema is 'Where the hook is.';
comment on column pgqueue.hook_calls.function_name is 'Its name.';
comment on column pgqueue.hook_calls.tries is 'How many calls failed.';
comment on column pgqueue.hook_calls.next_try_at is 'When it is called again.';
comment on column pgqueue.hook_calls.error is 'What it said last.';
comment on table pgqueue.running is 'Jobs that an attempt owns: look at pgqueue.running_jobs. Moved by functions only.';
comment on table pgqueue.finished is 'How each finished job ended. Moved by functions only; retention removes it with its job.';
comment on table pgqueue.attempts is 'Attempts that ended without finishing their job, and finishes that a retry undid.';
comment on table pgqueue.completions is 'Finished jobs that named a feed and are not acknowledged yet: pgqueue.take_completions() and ack_completions().';
comment on column pgqueue.completions.feed is 'The feed, as the job named it.';
comment on column pgqueue.completions.tenant_id is 'Whose job it was; empty without tenants.';
comment on column pgqueue.completions.id is 'What ack_completions() takes.';
comment on column pgqueue.completions.job_id is 'The job.';
comment on column pgqueue.completions.job_type is 'Its type.';
comment on column pgqueue.completions.status is 'How it ended.';
comment on column pgqueue.completions.finished_at is 'When.';
comment on column pgqueue.completions.taken_until is 'Until then it is with a reader; -infinity = nobody has taken it.';
comment on column pgqueue.completions.taken is 'How often it was handed out.';

comment on table pgqueue.callback_secrets is 'Hosts that callbacks may go to: pgqueue.add_callback_secret() and remove_callback_secret().';
comment on column pgqueue.callback_secrets.id is 'Drawn when it was added.';
comment on column pgqueue.callback_secrets.host is 'The host, with its port if the URLs name one.';
comment on column pgqueue.callback_secrets.tenant_id is 'Only for this tenant''s jobs; NULL = for all.';
comment on column pgqueue.callback_secrets.secret is 'What sign_callback() signs with. Granted to nobody.';
comment on column pgqueue.callback_secrets.created_at is 'When it was added.';

comment on table pgqueue.stats_log is 'Outcomes as they happen: look at pgqueue.stats_recent.';
comment on table pgqueue.stats is 'Outcomes per minute and, later, per hour: look at pgqueue.stats_recent.';

comment on table pgqueue.job_results is 'What a job created: written by its handler, committed with its completion.';
comment on column pgqueue.job_results.job_id is 'The job.';
comment on column pgqueue.job_results.entity_type is 'What kind of thing, for example Order.';
comment on column pgqueue.job_results.entity_id is 'Its id.';
comment on column pgqueue.job_results.created_at is 'When it was written.';

comment on sequence pgqueue.position_seq is 'Positions of ready jobs: they only grow.';
comment on sequence pgqueue.token_seq is 'Fencing tokens: one per claim.';

comment on table pgqueue.schedules is 'What is enqueued at which times. Change it with pgqueue.set_schedule().';
comment on column pgqueue.schedules.name is 'The schedule.';
comment on column pgqueue.schedules.cron is 'When it ticks: five fields, or six with seconds first.';
comment on column pgqueue.schedules.time_zone is 'In whose local time.';
comment on column pgqueue.schedules.job_type is 'What it enqueues.';
comment on column pgqueue.schedules.payload is 'With which payload.';
comment on column pgqueue.schedules.queue is 'Into which queue; NULL = the type''s.';
comment on column pgqueue.schedules.priority is '0 high, 1 normal, 2 low, 3 bulk.';
comment on column pgqueue.schedules.max_attempts is 'Attempts allowed; NULL = the type''s.';
comment on column pgqueue.schedules.timeout is 'Time limit of an attempt; NULL = the type''s.';
comment on column pgqueue.schedules.headers is 'Its jobs'' headers; the schedule and the tick are added.';
comment on column pgqueue.schedules.tenant_id is 'Whose jobs they are.';
comment on column pgqueue.schedules.overlap is 'While the run before has not finished: allow, skip or queue.';
comment on column pgqueue.schedules.catch_up is 'Of ticks that were missed: skip, one or all.';
comment on column pgqueue.schedules.catch_up_max is 'With all: at most so many, the latest.';
comment on column pgqueue.schedules.grace is 'A tick that is later than this was missed.';
comment on column pgqueue.schedules.jitter is 'Jobs start at random within this time after the tick.';
comment on column pgqueue.schedules.enabled is 'False: it does not tick.';
comment on column pgqueue.schedules.paused_at is 'Not null: it does not tick.';
comment on column pgqueue.schedules.paused_reason is 'Why, as given to pgqueue.pause_schedule().';
comment on column pgqueue.schedules.operator_managed is 'True: what workers declare about it is ignored.';
comment on column pgqueue.schedules.description is 'What it is for.';
comment on column pgqueue.schedules.next_tick_at is 'The first tick that has not been handled; NULL = never again.';
comment on column pgqueue.schedules.created_at is 'When it was created.';
comment on column pgqueue.schedules.updated_at is 'When it was changed last.';

comment on table pgqueue.schedule_runs is 'What became of the ticks; kept as long as finished jobs. Look at pgqueue.schedule_history.';
comment on column pgqueue.schedule_runs.schedule is 'The schedule.';
comment on column pgqueue.schedule_runs.tick_at is 'The tick; of a run by hand the time of the call.';
comment on column pgqueue.schedule_runs.outcome is 'enqueued, by_hand, skipped, missed or refused.';
comment on column pgqueue.schedule_runs.job_id is 'The job that it made.';
comment on column pgqueue.schedule_runs.missed_until is 'With missed: stands for all ticks before this.';
comment on column pgqueue.schedule_runs.error is 'With refused: why.';
comment on column pgqueue.schedule_runs.created_at is 'When the tick was handled.';
