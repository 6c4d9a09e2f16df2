-- Roles and what they may do. Grants are data: the two lists below are all of them, and tests/security/test_grants.py
-- holds the same matrix, written on its own.
--
--   pgqueue_producer   inserts jobs, and sees how they fare (never payloads or headers)
--   pgqueue_worker     calls functions; has no right on any table
--   pgqueue_viewer     sees everything, payloads too; changes nothing
--   pgqueue_operator   what a viewer may, and moves jobs, pauses, drains, sets
--
-- They are roles of the whole cluster, shared by every database that has pgqueue. Who installs without CREATEROLE goes
-- without those that do not exist (a warning says so) and grants by hand. Installing again adds what is missing
-- and takes nothing away: a DBA's own grants stay.

-- The installer may have become the schema's owner (prepare.sql), who creates no roles: step out of it and back.
do $$
declare
    v_owner name := current_user;
    v_role text;
    v_comment text;
begin
    set local role none;
    for v_role, v_comment in
        values
            ('pgqueue_producer', 'pgqueue: inserts jobs and sees how they fare'),
            ('pgqueue_worker', 'pgqueue: claims, runs and reports jobs through functions'),
            ('pgqueue_viewer', 'pgqueue: sees everything, changes nothing'),
            ('pgqueue_operator', 'pgqueue: sees everything, moves jobs, pauses and sets')
    loop
        begin
            if not exists (select from pg_catalog.pg_roles r where r.rolname = v_role) then
                execute format('create role %I nologin', v_role);
                execute format('comment on role %I is %L', v_role, v_comment);
            end if;
        exception
            -- Another database of the cluster installs at the same time.
            when duplicate_object or unique_violation then
                null;
            when insufficient_privilege then
                raise warning 'no right to create role %: its grants in sql/roles.sql are left out', v_role;
        end;
    end loop;
    execute format('set local role %I', v_owner);
end
$$;

-- What no role but those below may call, PUBLIC included.
revoke all on function pgqueue.uuid_v7() from public;

do $$
declare
    v_role text;
    v_privilege text;
    v_object text;
    v_everybody constant text := 'pgqueue_producer pgqueue_worker pgqueue_viewer pgqueue_operator';
    v_seers constant text := 'pgqueue_viewer pgqueue_operator';
begin
    for v_role, v_privilege, v_object in
        select r.role_name, g.privilege, g.object
        from (
            values
                (v_everybody, 'usage', 'schema pgqueue'),
                (v_seers, 'select', 'all tables in schema pgqueue'),
                (v_seers, 'select (id, host, tenant_id, created_at)', 'table pgqueue.callback_secrets'),
                (v_seers, 'select (only_row)', 'table pgqueue.signal_secret'),

                ('pgqueue_producer', 'insert (id, job_type, queue, priority, payload, run_at, expires_at, max_attempts, timeout,'
                    ' idempotency_key, unique_key, tenant_id, headers, notify, feed, callback_url, depends_on, on_parent_failure,'
                    ' concurrency_key, ordering_key, ordering_on_failure, batch_id, deadline_at)', 'table pgqueue.jobs'),
                ('pgqueue_producer', 'insert (id, job_type, queue, priority, payload, run_at, expires_at, max_attempts, timeout,'
                    ' idempotency_key, unique_key, tenant_id, headers, notify, feed, callback_url, depends_on, on_parent_failure,'
                    ' concurrency_key, ordering_key, ordering_on_failure, batch_id, deadline_at, on_duplicate)', 'table pgqueue.inbox'),
                -- It shows no rows: this is for RETURNING.
                ('pgqueue_producer', 'select', 'table pgqueue.inbox'),
                ('pgqueue_producer', 'select (id, job_type, queue, priority, run_at, expires_at, max_attempts, timeout,'
                    ' idempotency_key, unique_key, tenant_id, notify, feed, callback_url, depends_on, on_parent_failure, callback_of,'
                    ' concurrency_key, ordering_key, ordering_on_failure,'
                    ' batch_id, deadline_at, created_at, created_by)',
                    'table pgqueue.jobs'),
                -- What stands below job_status and job_timeline, for their rights are checked as the caller's. No tokens.
                ('pgqueue_producer', 'select (job_id, queue, attempts, ready_at)', 'table pgqueue.ready'),
                ('pgqueue_producer', 'select (job_id, queue, attempts, due_at, reason)', 'table pgqueue.scheduled'),
                ('pgqueue_producer', 'select (job_id, queue, attempts, reason, unique_key, waits_for, blocked_at, ready_at, signal, timeout_at)', 'table pgqueue.blocked'),
                ('pgqueue_producer', 'select (job_id, queue, attempt, worker_id, ready_at, started_at, progress, progress_message,'
                    ' progress_at, cancel_requested_at, cancel_reason)', 'table pgqueue.running'),
                ('pgqueue_producer', 'select (job_id, status, job_type, queue, attempt, worker_id, ready_at, started_at, finished_at,'
                    ' result, result_url, errors, metrics, progress, progress_message, unique_key, reason)', 'table pgqueue.finished'),
                ('pgqueue_producer', 'select (job_id, token, attempt, outcome, worker_id, started_at, ended_at, error)',
                    'table pgqueue.attempts'),
                ('pgqueue_producer', 'select', 'table pgqueue.job_results'),
                ('pgqueue_producer', 'select (id, name)', 'table pgqueue.workers'),
                ('pgqueue_producer', 'select (job_type, enabled, queue, max_attempts, description)', 'table pgqueue.job_types'),
                ('pgqueue_producer', 'select (only_row, max_attempts)', 'table pgqueue.settings'),
                ('pgqueue_producer', 'select', 'table pgqueue.job_status'),
                ('pgqueue_producer', 'select', 'table pgqueue.job_timeline'),
                -- What stands below batch_status: not the three jobs, which have payloads.
                ('pgqueue_producer', 'select (id, name, description, tenant_id, total, succeeded, failed, cancelled, created_at, created_by, closed_at,'
                    ' finished_at, success_job_id, failure_job_id, complete_job_id, refused)', 'table pgqueue.batches'),
                ('pgqueue_producer', 'select', 'table pgqueue.batch_log'),
                ('pgqueue_producer', 'select', 'table pgqueue.batch_status')
        ) as g (roles, privilege, object)
        cross join lateral string_to_table(g.roles, ' ') as r (role_name)
        union all
        select r.role_name, 'execute', 'function pgqueue.' || f.function_name
        from (
            values
                (v_everybody, 'schema_version current_tenant'),
                ('pgqueue_producer', 'uuid_v7'),
                ('pgqueue_producer pgqueue_worker', 'enqueue enqueue_many'),
                ('pgqueue_producer', 'take_completions ack_completions signal_by_token'),
                ('pgqueue_producer pgqueue_worker', 'open_batch signal_token'),
                ('pgqueue_producer pgqueue_worker pgqueue_operator', 'close_batch signal'),
                (v_everybody, 'signals_of'),
                ('pgqueue_worker', 'pause_until add_to_batch'),
                ('pgqueue_worker pgqueue_operator', 'look_at_signals merge_batches forget_batches'),
                ('pgqueue_producer pgqueue_operator', 'cancel'),
                ('pgqueue_producer pgqueue_viewer pgqueue_operator', 'why_waiting workflow'),
                ('pgqueue_producer pgqueue_worker pgqueue_viewer pgqueue_operator', 'parent_results'),
                (v_seers, 'next_tick next_ticks verify drift stats_bounds stats_quantile ready_depth ready_types tenant_numbers'),
                ('pgqueue_worker', 'register_schedules register_limits'),
                ('pgqueue_operator', 'set_schedule pause_schedule resume_schedule remove_schedule run_schedule_now'),
                ('pgqueue_worker', 'register_worker register_job_types heartbeat stop_worker release_strays live_workers rest leave'),
                ('pgqueue_worker', 'claim claim_job exchange report complete fail snooze release cancel_running progress extend settle sign_callback'),
                ('pgqueue_worker pgqueue_operator', 'maintain promote age_waiting rescue expire retain merge_stats run_hooks forget_workers run_schedules mark_lanes count_tenants forget_schedule_runs tend_limits'),
                ('pgqueue_operator', 'set_limit drop_limit skip_ordered'),
                ('pgqueue_operator', 'retry redrive reschedule reprioritise purge_queue'),
                ('pgqueue_operator', 'pause_queue resume_queue pause_job_type resume_job_type'),
                ('pgqueue_operator', 'drain_worker set_job_type set_settings set_tenant_weight set_tenant_quota add_callback_secret remove_callback_secret')
        ) as g (roles, functions)
        cross join lateral string_to_table(g.roles, ' ') as r (role_name)
        cross join lateral string_to_table(g.functions, ' ') as f (function_name)
        -- 'all tables' comes first.
        order by 3
    loop
        if exists (select from pg_catalog.pg_roles r where r.rolname = v_role) then
            execute format('grant %s on %s to %I', v_privilege, v_object, v_role);
            if v_object like 'all tables%' then
                -- But not the secrets: what follows grants the other columns.
                execute format('revoke select on table pgqueue.callback_secrets, pgqueue.signal_secret from %I', v_role);
            end if;
        end if;
    end loop;
end
$$;
