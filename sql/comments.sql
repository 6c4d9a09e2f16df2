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
comment on column pgqueue.settings.aging is 'A job that has waited for so long is claimed with the next higher priority; 0 = off.';

comment on column pgqueue.settings.limited is 'True: there are limits or ordering keys, and claims look at them. Set by itself.';
comment on column pgqueue.settings.limited_names is 'The job types and queues that some limit is about; * = any. Claims spare the others a closer look. Set by itself.';

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
comment on column pgqueue.queues.fair is 'True: its tenants take turns. Set by pgqueue.set_fairness().';

comment on table pgqueue.tenant_settings is 'What was set for a tenant, by pgqueue.set_tenant_weight() and pgqueue.set_tenant_quota(). A tenant needs no row here.';
comment on column pgqueue.tenant_settings.tenant_id is 'The tenant; empty = jobs without one.';
comment on column pgqueue.tenant_settings.weight is 'Its turns in a fair queue, for one of a tenant without a weight.';
comment on column pgqueue.tenant_settings.waiting_max is 'So many of its jobs may wait; null = any number.';
comment on column pgqueue.tenant_settings.waiting_bytes_max is 'So many bytes of payload may wait; null = any number.';
comment on column pgqueue.tenant_settings.payload_bytes_max is 'So many bytes may a payload have; null = what any job may.';

comment on table pgqueue.tenant_jobs is 'The unfinished jobs of tenants with a quota; of finished ones until the next count.';
comment on column pgqueue.tenant_jobs.tenant_id is 'The tenant; empty = jobs without one.';
comment on column pgqueue.tenant_jobs.id is 'Later jobs have a higher one.';
comment on column pgqueue.tenant_jobs.job_id is 'The job.';
comment on column pgqueue.tenant_jobs.payload_bytes is 'Size of its payload.';

comment on table pgqueue.tenant_counts is 'What tenants with a quota had waiting when it was last counted.';
comment on column pgqueue.tenant_counts.tenant_id is 'The tenant; empty = jobs without one.';
comment on column pgqueue.tenant_counts.id is 'Later counts have a higher one.';
comment on column pgqueue.tenant_counts.waiting is 'Jobs waiting.';
comment on column pgqueue.tenant_counts.waiting_bytes is 'Bytes of payload in them.';
comment on column pgqueue.tenant_counts.first_id is 'No row of tenant_jobs below this will be of use.';
comment on column pgqueue.tenant_counts.last_id is 'The last of its rows in tenant_jobs.';
comment on column pgqueue.tenant_counts.xid is 'Transactions that had drawn an id up to last_id have a lower one.';
comment on column pgqueue.tenant_counts.cost is 'How long it took.';
comment on column pgqueue.tenant_counts.counted_at is 'When.';

comment on table pgqueue.lane_marks is 'Where the lanes of fair queues stood, second by second; kept for ten seconds.';
comment on column pgqueue.lane_marks.queue is 'The queue.';
comment on column pgqueue.lane_marks.priority is '0 high, 1 normal, 2 low, 3 bulk.';
comment on column pgqueue.lane_marks.mark is 'Later marks are higher.';
comment on column pgqueue.lane_marks.first_pos is 'Position of the first job, or where the next one goes.';
comment on column pgqueue.lane_marks.drawn_pos is 'The last position that had been drawn.';
comment on column pgqueue.lane_marks.xid is 'Transactions that had drawn it have a lower id.';
comment on column pgqueue.lane_marks.marked_at is 'When.';

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
comment on column pgqueue.jobs.concurrency_key is 'Counted together by limits of kind key, for example the customer.';
comment on column pgqueue.jobs.ordering_key is 'Jobs with this key (and tenant) run one after another, in order of arrival.';
comment on column pgqueue.jobs.ordering_on_failure is 'When it fails, those after it: skip it (NULL), or block until it is retried or skip_ordered().';
comment on column pgqueue.jobs.batch_id is 'The batch that it belongs to: pgqueue.open_batch() makes one.';
comment on column pgqueue.jobs.deadline_at is 'It finishes by this time or fails: no attempt goes on after it.';
comment on column pgqueue.jobs.callback_of is 'Set by pgqueue: this job is the delivery that tells of that one.';
comment on column pgqueue.jobs.created_at is 'When it was inserted.';
comment on column pgqueue.jobs.created_by is 'The login that inserted it.';

comment on table pgqueue.ready is 'Jobs that may run now. Moved by functions only.';
comment on table pgqueue.scheduled is 'Jobs that wait for their time: run_at, backoff or snooze. Moved by functions only.';
comment on table pgqueue.blocked is 'Jobs that wait for another job, a limit, a signal or a hook. Moved by functions only.';
comment on table pgqueue.dependencies is 'What blocked jobs wait for: one row per parent that has not finished. Moved by functions only.';
comment on column pgqueue.dependencies.parent_id is 'Must finish first.';
comment on column pgqueue.dependencies.job_id is 'Waits for it.';

comment on table pgqueue.limits is 'What is limited: look at pgqueue.limit_status. Change it with pgqueue.set_limit() and drop_limit().';
comment on column pgqueue.limits.id is 'Begins the names of its gates.';
comment on column pgqueue.limits.kind is 'job_type, queue, tenant or key.';
comment on column pgqueue.limits.name is 'The type, queue or tenant; of a key the type. * = each tenant alone, or keys over all types.';
comment on column pgqueue.limits.max_running is 'At most so many at once; NULL = any number.';
comment on column pgqueue.limits.rate_jobs is 'So many starts per rate_interval; NULL = any number.';
comment on column pgqueue.limits.rate_interval is 'The time that rate_jobs is about.';
comment on column pgqueue.limits.rate_burst is 'So many may start at once after a quiet time.';
comment on column pgqueue.limits.rate_step is 'A token comes after each such time.';
comment on column pgqueue.limits.operator_managed is 'True: what workers declare about it is ignored.';
comment on column pgqueue.limits.description is 'What it is for.';
comment on column pgqueue.limits.updated_at is 'When it was changed last.';

comment on table pgqueue.slots is 'Places under gates that running jobs hold. Moved by functions only.';
comment on column pgqueue.slots.job_id is 'The job.';
comment on column pgqueue.slots.token is 'Its attempt: the row counts while that runs.';
comment on column pgqueue.slots.gate is 'The gate.';
comment on table pgqueue.openings is 'Gates to be looked at, from a time on. Moved by functions only.';
comment on column pgqueue.openings.id is 'Drawn when it was written.';
comment on column pgqueue.openings.opens_at is 'When something is free, perhaps.';
comment on column pgqueue.openings.made_at is 'When it was written.';
comment on column pgqueue.openings.gate is 'The gate.';
comment on table pgqueue.gate_buckets is 'The rates'' token buckets; the row with the highest id of a gate counts. Moved by functions only.';
comment on column pgqueue.gate_buckets.gate is 'The gate.';
comment on column pgqueue.gate_buckets.id is 'Drawn when it was written.';
comment on column pgqueue.gate_buckets.full_at is 'When the bucket will be full again.';
comment on table pgqueue.ordered_jobs is 'Unfinished jobs of ordering keys, and failed ones that block theirs. Moved by functions only.';
comment on column pgqueue.ordered_jobs.gate is 'The key''s gate.';
comment on column pgqueue.ordered_jobs.seq is 'The order of arrival.';
comment on column pgqueue.ordered_jobs.job_id is 'The job.';

comment on table pgqueue.hooks is 'Functions that are called when jobs of a type are inserted, finish or run again. Change it with pgqueue.set_hook() and drop_hook().';
comment on column pgqueue.hooks.job_type is 'The type.';
comment on column pgqueue.hooks.function_schema is 'Where the function is.';
comment on column pgqueue.hooks.function_name is 'Its name; it takes (text, uuid[]), returns uuid[] and belongs to the owner of the schema pgqueue.';
comment on column pgqueue.hooks.events is 'What it hears of: insert, finish, retry, maintain.';

comment on table pgqueue.maintenance_failures is 'Jobs that maintenance could not move (an application''s own trigger refused): tried again after a minute, so that they hide no other job.';
comment on column pgqueue.maintenance_failures.part is 'Which part of it: rescue, expire or look_at_signals.';
comment on column pgqueue.maintenance_failures.job_id is 'The job.';
comment on column pgqueue.maintenance_failures.next_try_at is 'When it is tried again.';
comment on column pgqueue.maintenance_failures.error is 'What was said, and its SQLSTATE.';
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

comment on table pgqueue.token_marks is 'A row: token_seq is ahead of every token drawn. Unlogged: empty after a crash or a failover, until the first claim.';
comment on column pgqueue.token_marks.id is 'Random.';
comment on column pgqueue.token_marks.made_by is 'The transaction that made the mark; a row that another wrote, as a restore does, is none.';
comment on column pgqueue.token_marks.made_in is 'The table''s oid then; in one that a restore made it is another.';
comment on column pgqueue.token_marks.made_at is 'When: at the install, or by the first claim after a crash or a failover.';

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

comment on table pgqueue.batches is 'Batches of jobs: look at pgqueue.batch_status. Change one with pgqueue.open_batch() and close_batch().';
comment on column pgqueue.batches.id is 'What jobs name as batch_id.';
comment on column pgqueue.batches.name is 'For people.';
comment on column pgqueue.batches.description is 'For people.';
comment on column pgqueue.batches.tenant_id is 'Whose it is.';
comment on column pgqueue.batches.total is 'Jobs, as far as merged from batch_log.';
comment on column pgqueue.batches.succeeded is 'Likewise.';
comment on column pgqueue.batches.failed is 'Likewise.';
comment on column pgqueue.batches.cancelled is 'Likewise.';
comment on column pgqueue.batches.log_floor is 'Rows of batch_log below this id are gone, or are committed late.';
comment on column pgqueue.batches.created_at is 'When it was opened.';
comment on column pgqueue.batches.created_by is 'The login that opened it.';
comment on column pgqueue.batches.closed_at is 'Since when only its own jobs add to it.';
comment on column pgqueue.batches.finished_at is 'When its last job was seen to be finished.';
comment on column pgqueue.batches.success_job_id is 'The job that on_success made.';
comment on column pgqueue.batches.failure_job_id is 'The job that on_failure made.';
comment on column pgqueue.batches.complete_job_id is 'The job that on_complete made.';
comment on column pgqueue.batches.on_success is 'The job to enqueue when all have succeeded.';
comment on column pgqueue.batches.on_failure is 'The job to enqueue when the first has failed or was cancelled.';
comment on column pgqueue.batches.on_complete is 'The job to enqueue when all have finished.';
comment on column pgqueue.batches.refused is 'Which of the three could not be enqueued, and why.';
comment on table pgqueue.batch_log is 'What happened in batches since the last merge: look at pgqueue.batch_status.';
comment on column pgqueue.batch_log.batch_id is 'The batch.';
comment on column pgqueue.batch_log.id is 'Grows.';
comment on column pgqueue.batch_log.added is 'Jobs that were inserted.';
comment on column pgqueue.batch_log.succeeded is 'Jobs that succeeded; negative = they were retried.';
comment on column pgqueue.batch_log.failed is 'Jobs that failed; negative = they were retried.';
comment on column pgqueue.batch_log.cancelled is 'Jobs that were cancelled; negative = they were retried.';

comment on table pgqueue.signals is 'What jobs were told by pgqueue.signal(); the first of a name counts.';
comment on column pgqueue.signals.job_id is 'The job.';
comment on column pgqueue.signals.name is 'Which signal.';
comment on column pgqueue.signals.payload is 'What came with it.';
comment on column pgqueue.signals.timed_out is 'True: it did not come; the job went on without it.';
comment on column pgqueue.signals.sent_at is 'When.';
comment on column pgqueue.signals.sent_by is 'By which login.';
comment on table pgqueue.signal_secret is 'What pgqueue.signal_token() signs with. Granted to nobody.';
comment on column pgqueue.signal_secret.only_row is 'Keeps it at one row.';
comment on column pgqueue.signal_secret.secret is 'Random; replacing it makes all tokens void.';

-- What CHECKs allow, in words: pgqueue.refuse_check() says them.
comment on constraint limits_kind_check on pgqueue.limits is 'kind must be job_type, queue, tenant or key';
comment on constraint limits_name_check on pgqueue.limits is 'name must have 1 to 100 characters';
comment on constraint limits_name_any_check on pgqueue.limits is 'name can be * for kind tenant or key only';
comment on constraint limits_max_running_check on pgqueue.limits is 'max_running must be from 1 to 10,000';
comment on constraint limits_rate_jobs_check on pgqueue.limits is 'rate_jobs must be from 1 to 1,000,000';
comment on constraint limits_rate_interval_check on pgqueue.limits is 'rate_interval must be from 1 millisecond to 30 days';
comment on constraint limits_rate_burst_check on pgqueue.limits is 'rate_burst must be from 1 to 1,000,000';
comment on constraint limits_rate_together_check on pgqueue.limits is 'rate_jobs and rate_interval must be given together';
comment on constraint limits_max_running_or_rate_check on pgqueue.limits is 'max_running or rate_jobs must be given';
comment on constraint schedules_name_check on pgqueue.schedules is 'name must have 1 to 100 characters';
comment on constraint schedules_cron_check on pgqueue.schedules is 'cron must have 1 to 500 characters';
comment on constraint schedules_job_type_check on pgqueue.schedules is 'job_type must have 1 to 100 characters';
comment on constraint schedules_queue_check on pgqueue.schedules is 'queue must have 1 to 63 characters';
comment on constraint schedules_priority_check on pgqueue.schedules is 'priority must be 0 (high), 1 (normal), 2 (low) or 3 (bulk)';
comment on constraint schedules_payload_check on pgqueue.schedules is 'payload must be a JSON object';
comment on constraint schedules_headers_check on pgqueue.schedules is 'headers must be a JSON object';
comment on constraint schedules_max_attempts_check on pgqueue.schedules is 'max_attempts must be from 1 to 10,000';
comment on constraint schedules_timeout_check on pgqueue.schedules is 'timeout must be from 1 millisecond to 30 days';
comment on constraint schedules_overlap_check on pgqueue.schedules is 'overlap must be allow, skip or queue';
comment on constraint schedules_catch_up_check on pgqueue.schedules is 'catch_up must be skip, one or all';
comment on constraint schedules_catch_up_max_check on pgqueue.schedules is 'catch_up_max must be from 1 to 1,000';
comment on constraint schedules_grace_check on pgqueue.schedules is 'grace must be from 0 to 1 day';
comment on constraint schedules_jitter_check on pgqueue.schedules is 'jitter must be from 0 to 1 day';
comment on constraint hooks_job_type_check on pgqueue.hooks is 'job_type must have 1 to 100 characters';
comment on constraint hooks_events_check on pgqueue.hooks is 'events must be some of insert, finish, retry and maintain';
