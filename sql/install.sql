-- Installs or upgrades pgqueue in the current database:  psql -X -v ON_ERROR_STOP=1 -f sql/install.sql
--
-- Needs CREATE on the database, nothing else: no superuser, no CREATEROLE, no extension. Everything happens in one
-- transaction under an advisory lock; repeating it is harmless. This file is the manifest: `pgqueue migrate` reads its \ir lines.
--   migrations/  tables; each runs once and is recorded in pgqueue.migrations
--   the rest     functions, triggers, views, grants; replaced at every install
\set ON_ERROR_STOP on
\set pgqueue_quiet :QUIET
\set QUIET on
set client_min_messages = warning;
begin;
-- Replacing a trigger waits for every open transaction that has inserted a job, and makes later inserts wait behind it: not
-- for longer than this. On "canceling statement due to lock timeout" nothing has changed; run it again.
set local lock_timeout = '3s';
-- The planner's guess at the list of grants is so high that it would be compiled: 0.2 s.
set local jit = off;
select pg_advisory_xact_lock(7067005, 1) \g /dev/null
\ir prepare.sql

select to_regclass('pgqueue.migrations') is null as pgqueue_todo \gset
\if :pgqueue_todo
\ir migrations/0001_core.sql
\endif
select not exists (select from pgqueue.migrations m where m.version = 2) as pgqueue_todo \gset
\if :pgqueue_todo
\ir migrations/0002_schedules.sql
\endif
select not exists (select from pgqueue.migrations m where m.version = 3) as pgqueue_todo \gset
\if :pgqueue_todo
\ir migrations/0003_dependencies.sql
\endif
select not exists (select from pgqueue.migrations m where m.version = 4) as pgqueue_todo \gset
\if :pgqueue_todo
\ir migrations/0004_limits.sql
\endif
select not exists (select from pgqueue.migrations m where m.version = 5) as pgqueue_todo \gset
\if :pgqueue_todo
\ir migrations/0005_tenants.sql
\endif
select not exists (select from pgqueue.migrations m where m.version = 6) as pgqueue_todo \gset
\if :pgqueue_todo
\ir migrations/0006_batches.sql
\endif
select not exists (select from pgqueue.migrations m where m.version = 7) as pgqueue_todo \gset
\if :pgqueue_todo
\ir migrations/0007_hooks.sql
\endif

-- Functions of this release over tables of a later one would break it. The number is the last migration's.
do $$
begin
    if (select max(m.version) from pgqueue.migrations m) > 7 then
        raise exception 'a later release of pgqueue is installed here (schema version %)', (select max(m.version) from pgqueue.migrations m)
            using hint = 'Install with the files of that release, or of a later one.';
    end if;
end
$$;

\ir functions/base.sql
\ir functions/tokens.sql
\ir functions/doorbell.sql
\ir functions/limits.sql
\ir functions/openings.sql
\ir functions/ordering.sql
\ir functions/route.sql
\ir functions/guard.sql
\ir functions/workers.sql
\ir functions/finish.sql
\ir functions/hooks.sql
\ir functions/set_hook.sql
\ir functions/dependencies.sql
\ir functions/batches.sql
\ir functions/settle_batches.sql
\ir functions/fail.sql
\ir functions/signals.sql
\ir functions/enqueue.sql
\ir functions/insert_many.sql
\ir functions/duplicates.sql
\ir functions/inbox.sql
\ir functions/tell.sql
\ir functions/feed.sql
\ir functions/callback.sql
\ir functions/claim_limited.sql
\ir functions/claim.sql
\ir functions/complete.sql
\ir functions/report.sql
\ir functions/progress.sql
\ir functions/cancel.sql
\ir functions/retry.sql
\ir functions/queues.sql
\ir functions/set_limit.sql
\ir functions/stats.sql
\ir functions/cron.sql
\ir functions/next_tick.sql
\ir functions/schedules.sql
\ir functions/ticks.sql
\ir functions/fairness.sql
\ir functions/quotas.sql
\ir functions/aging.sql
\ir functions/promote.sql
\ir functions/rescue.sql
\ir functions/retain.sql
\ir functions/maintain.sql
\ir functions/verify.sql
\ir functions/catalogue.sql
\ir functions/applications.sql
\ir views/job_status.sql
\ir views/schedules.sql
\ir views/batches.sql
\ir views/statistics.sql
\ir views/jobs.sql
\ir views/workers.sql
\ir views/limits.sql
\ir views/health.sql
\ir views/why_waiting.sql
\ir views/inbox.sql
\ir views/tenants.sql
\ir tenants.sql
\ir comments.sql
\ir roles.sql
\ir record.sql
select max(m.version) as pgqueue_version from pgqueue.migrations m \gset
commit;

-- What it came to, in one line; with psql -q nothing is said.
\if :pgqueue_quiet
\else
\echo pgqueue is installed in :DBNAME, schema version :pgqueue_version. Next: pgqueue doctor, then a worker.
\endif
\set QUIET :pgqueue_quiet
