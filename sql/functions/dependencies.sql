-- Jobs that wait for other jobs: jobs.depends_on names the parents. The job is blocked until all have succeeded (partial
-- counts). When one has failed or was cancelled, on_parent_failure says what becomes of the job: 'fail' (the default; its own
-- dependents then fail likewise) or 'run', once all parents have finished.
--
-- Cycles are impossible: a parent must exist before its child, and within one INSERT no circle is let through.
--
-- The race between a parent that finishes and a child that is being inserted: the insert locks the parent's row of
-- ready, scheduled, blocked or running and marks it (flags bit 4). Who finishes the parent deletes that
-- row, so he waits for the insert to commit, then finds the mark, then, with a newer snapshot, the child. An
-- INSERT that names a running parent therefore holds up that parent's completion, and other INSERTs that name it, until it
-- commits: keep such a transaction short.
-- Jobs without dependents pay nothing: no lock, no look-up. Lock order: running, jobs (keyed ones by key, then children by id),
-- ready/scheduled/blocked. Proved by tests/sql/test_dependencies.py and tests/races/test_dependencies.py.

-- Refuse circles among the rows of one INSERT: take away rows whose parents are not among the rest until none is left.
-- 1,000 levels within one INSERT are enough for anybody and keep this from running for ever.
create or replace function pgqueue.check_acyclic(p_ids uuid[])
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_left uuid[];
    v_next uuid[];
begin
    v_left := array(select j.id from pgqueue.jobs j where j.id = any (p_ids) and j.depends_on && p_ids);
    for v_level in 1..1000 loop
        v_next := array(select j.id from pgqueue.jobs j where j.id = any (v_left) and j.depends_on && v_left);
        exit when cardinality(v_next) = cardinality(v_left);
        v_left := v_next;
    end loop;
    if v_left <> '{}' then
        raise exception using errcode = '23514', constraint = 'jobs_depends_on_acyclic', schema = 'pgqueue', table = 'jobs', column = 'depends_on',
            message = format('job %s depends on itself, through %s', v_left[1], coalesce(v_left[2]::text, 'others')),
            hint = 'Within one INSERT jobs may name each other as parents, at most 1,000 levels deep and never in a circle.';
    end if;
end
$$;
revoke all on function pgqueue.check_acyclic(uuid[]) from public;

-- The jobs of one INSERT, given in order of arrival, with each parent moved ahead of the first of its descendants; others keep their order.
-- The sequence in which ordering keys are entered must be one in which all could run: a job that waits for one behind it
-- in its key (or, over several keys, in a circle) would wait for ever. Finds nothing to do where parents come before their
-- children. A circle of parents is refused later (check_acyclic()): here it only must come to an end.
create or replace function pgqueue.parents_first(p_ids uuid[])
returns uuid[]
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    with recursive given as materialized (
        select u.id, u.n from unnest(p_ids) with ordinality as u (id, n)
    ), edges as materialized (
        select p.id as parent_id, p.n as parent_n, c.id as child_id, c.n as child_n
        from given c
        cross join lateral (select w.depends_on from pgqueue.jobs w where w.id = c.id limit 1) j
        cross join lateral unnest(j.depends_on) d
        join given p on p.id = d
    ), ahead (id, of_n, levels) as (
        select e.parent_id, e.child_n, 1 from edges e where e.child_n < e.parent_n
        union
        select e.parent_id, a.of_n, a.levels + 1
        from ahead a
        join edges e on e.child_id = a.id
        where a.of_n < e.parent_n and a.levels < 1000
    )
    select array_agg(g.id order by coalesce(f.of_n, g.n), coalesce(f.levels, 0) desc, g.n)
    from given g
    left join (
        select distinct on (a.id) a.id, a.of_n, a.levels from ahead a order by a.id, a.of_n, a.levels desc
    ) f on f.id = g.id;
$$;
revoke all on function pgqueue.parents_first(uuid[]) from public;

-- Mark unfinished parents so that whoever finishes them looks for dependents; returns those. Finished ones are locked too:
-- a retry() must not make them unfinished now. Raises 23503 for one that does not exist, or is another tenant's. When one
-- moves meanwhile, the block lets all locks go before it looks again: waiting for a running row with a blocked one in
-- hand would deadlock with whoever finishes that.
create or replace function pgqueue.mark_parents(p_parents uuid[])
returns uuid[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant text := pgqueue.current_tenant();
    v_marked uuid[];
    v_missing uuid;
begin
    for v_turn in 1..100 loop
        select p into v_missing from unnest(p_parents) p
        where not exists (select from pgqueue.jobs j where j.id = p and (v_tenant is null or j.tenant_id = v_tenant))
        limit 1;
        if found then
            raise exception using errcode = '23503', constraint = 'jobs_depends_on_exist', schema = 'pgqueue', table = 'jobs', column = 'depends_on',
                message = format('job %s, named in depends_on, does not exist', v_missing),
                hint = 'Insert parents before their children, or in the same INSERT.';
        end if;
        begin
            v_marked := pgqueue.mark_places(p_parents);
            if cardinality(v_marked) + (
                select count(*) from (
                    select from pgqueue.finished f where f.job_id = any (p_parents) order by f.job_id for key share) f
                ) = cardinality(p_parents)
            then
                return v_marked;
            end if;
            raise exception using errcode = 'PQ000', message = 'one moved: look again';
        exception when sqlstate 'PQ000' then
            null;
        end;
    end loop;
    raise exception using errcode = '40001', message = 'a job named in depends_on changed its place a hundred times in between: try again';
end
$$;
revoke all on function pgqueue.mark_parents(uuid[]) from public;

-- Mark the rows of these jobs where they are. Always a new version, also of a row that is marked: who finishes the parent
-- with a snapshot from before the child gets 40001 for it instead of leaving the child blocked for ever. Delete and
-- insert where a claim or a promotion may have picked the old row: it finds it gone. The place in the queue stays.
create or replace function pgqueue.mark_places(p_parents uuid[])
returns uuid[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_marked uuid[];
    v_ids uuid[];
    v_queues text[];
begin
    v_marked := array(select r.job_id from pgqueue.running r where r.job_id = any (p_parents) order by r.job_id for no key update);
    update pgqueue.running r set flags = r.flags | 16 where r.job_id = any (v_marked);

    perform from pgqueue.ready r where r.job_id = any (p_parents) order by r.job_id for update;
    with gone as (
        delete from pgqueue.ready r where r.job_id = any (p_parents) returning r.*
    ), stored as (
        insert into pgqueue.ready (job_id, pos, ready_at, expires_at, attempts, flags, priority, queue, job_type)
        select g.job_id, g.pos, g.ready_at, g.expires_at, g.attempts, g.flags | 16, g.priority, g.queue, g.job_type from gone g
        returning job_id, queue
    )
    select array_agg(s.job_id), array_agg(distinct s.queue) into v_ids, v_queues from stored s;
    v_marked := v_marked || v_ids;
    -- A claim that finds the row gone may be the last before its worker sleeps.
    if v_queues is not null then
        perform pgqueue.ring(v_queues);
    end if;

    perform from pgqueue.scheduled s where s.job_id = any (p_parents) order by s.job_id for update;
    with gone as (
        delete from pgqueue.scheduled s where s.job_id = any (p_parents) returning s.*
    ), stored as (
        insert into pgqueue.scheduled (job_id, due_at, reason, queue, priority, job_type, attempts, flags, expires_at)
        select g.job_id, g.due_at, g.reason, g.queue, g.priority, g.job_type, g.attempts, g.flags | 16, g.expires_at from gone g
        returning job_id
    )
    select array_agg(s.job_id) into v_ids from stored s;
    v_marked := v_marked || v_ids;

    v_ids := array(select b.job_id from pgqueue.blocked b where b.job_id = any (p_parents) order by b.job_id for no key update);
    update pgqueue.blocked b set flags = b.flags | 16 where b.job_id = any (v_ids);
    return v_marked || v_ids;
end
$$;
revoke all on function pgqueue.mark_places(uuid[]) from public;

-- The jobs with parents of one INSERT, which the caller has put into blocked: write down what they wait for, and let go those
-- whose parents have finished already.
create or replace function pgqueue.hold_dependents(p_ids uuid[])
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_parents uuid[] := array(
        select distinct p from pgqueue.jobs j cross join unnest(j.depends_on) p where j.id = any (p_ids) order by p);
    v_marked uuid[];
begin
    perform pgqueue.check_acyclic(p_ids);
    v_marked := pgqueue.mark_parents(v_parents);
    insert into pgqueue.dependencies (parent_id, job_id)
    select distinct p, j.id from pgqueue.jobs j cross join unnest(j.depends_on) p
    where j.id = any (p_ids) and p = any (v_marked);
    perform pgqueue.settle_dependents(p_ids, v_parents);
end
$$;
revoke all on function pgqueue.hold_dependents(uuid[]) from public;

-- These jobs have finished: their dependents move on. The caller has moved them to finished; lock_keyed_jobs() has locked the
-- dependents' jobs rows (after_finish() calls it), so that of two parents that finish at once the later one sees what the earlier one did.
create or replace function pgqueue.release_dependents(p_parents uuid[])
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_children uuid[] := array(
        select distinct d.job_id from pgqueue.dependencies d where d.parent_id = any (p_parents) order by d.job_id);
begin
    if v_children = '{}' then
        return;
    end if;
    delete from pgqueue.dependencies d where d.parent_id = any (p_parents);
    perform pgqueue.settle_dependents(v_children, p_parents);
end
$$;
revoke all on function pgqueue.release_dependents(uuid[]) from public;

-- Let go those of these blocked jobs that wait for nothing any more, and fail those that have a failed one among
-- p_parents, their dependents too, level by level. They are moved to finished at the end, when nothing depends on them any more:
-- after_finish() would come back here for each level, and a long chain would end in the server's limit of stack depth; and
-- what it locks (batches, hooks) comes after all jobs rows.
create or replace function pgqueue.settle_dependents(p_ids uuid[], p_parents uuid[])
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_child record;
    v_gone pgqueue.blocked;
    v_all_gone pgqueue.blocked[] := array[]::pgqueue.blocked[];
    v_blamed uuid[] := array[]::uuid[];
    v_bad uuid[] := array(
        select f.job_id from pgqueue.finished f where f.job_id = any (p_parents) and f.status in ('failed', 'cancelled'));
    v_failed uuid[];
begin
    while p_ids <> '{}' loop
        v_failed := '{}';
        for v_child in
            select b.*, p.parent_id as failed_parent
            from pgqueue.blocked b
            cross join lateral (select w.depends_on, w.on_parent_failure from pgqueue.jobs w where w.id = b.job_id limit 1) j
            left join lateral (
                select x as parent_id from unnest(v_bad) x
                where x = any (j.depends_on) and coalesce(j.on_parent_failure, 'fail') = 'fail' limit 1
            ) p on true
            where b.job_id = any (p_ids) and b.reason = 'dependencies'
                and (p.parent_id is not null or not exists (select from pgqueue.dependencies d where d.job_id = b.job_id))
            order by b.job_id
        loop
            -- What was deleted, not what was read: mark_places() may have marked the row in between, without its jobs row.
            delete from pgqueue.blocked b where b.job_id = v_child.job_id returning b.* into v_gone;
            if v_child.failed_parent is null then
                perform pgqueue.place(v_child.job_id, coalesce(v_child.run_at, '-infinity'), 'run_at', v_child.queue,
                    v_child.priority, v_child.job_type, v_child.attempts, v_gone.flags);
            else
                delete from pgqueue.dependencies d where d.job_id = v_child.job_id;
                v_all_gone := v_all_gone || v_gone;
                v_blamed := v_blamed || v_child.failed_parent;
                v_failed := v_failed || v_child.job_id;
            end if;
        end loop;
        v_bad := v_failed;
        p_ids := array(select distinct d.job_id from pgqueue.dependencies d where d.parent_id = any (v_failed) order by d.job_id);
        perform pgqueue.lock_keyed_jobs(v_failed);
        delete from pgqueue.dependencies d where d.parent_id = any (v_failed);
    end loop;
    for v_n in 1..cardinality(v_all_gone) loop
        v_gone := v_all_gone[v_n];
        perform pgqueue.finish_waiting(v_gone.job_id, v_gone.job_type, v_gone.queue, v_gone.attempts, v_gone.flags & ~16,
            format('job %s, which it depends on, did not succeed', v_blamed[v_n]), 'parent_failed', 'failed');
    end loop;
end
$$;
revoke all on function pgqueue.settle_dependents(uuid[], uuid[]) from public;

-- A finished job runs again: as after its insert it waits for its parents. Those that retention has removed count as succeeded.
-- Raises PQ002 instead of failing it at once.
create or replace function pgqueue.hold_again(p_job pgqueue.jobs, p_queue text, p_flags integer)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_parents uuid[] := array(
        select distinct j.id from pgqueue.jobs j where j.id = any (p_job.depends_on) order by j.id);
    v_marked uuid[] := pgqueue.mark_parents(v_parents);
    v_failed uuid;
begin
    if p_job.on_parent_failure is distinct from 'run' then
        select f.job_id into v_failed from pgqueue.finished f
        where f.job_id = any (v_parents) and f.status in ('failed', 'cancelled')
        limit 1;
        if found then
            raise exception using errcode = 'PQ002',
                message = format('job %s cannot be retried: job %s, which it depends on, did not succeed', p_job.id, v_failed),
                hint = 'Retry that one first, or insert another job.';
        end if;
    end if;
    insert into pgqueue.blocked (job_id, reason, queue, priority, job_type, flags, expires_at)
    values (p_job.id, 'dependencies', p_queue, p_job.priority, p_job.job_type, p_flags, least(p_job.expires_at, p_job.deadline_at));
    insert into pgqueue.dependencies (parent_id, job_id) select p, p_job.id from unnest(v_marked) p;
    perform pgqueue.settle_dependents(array[p_job.id], v_parents);
end
$$;
revoke all on function pgqueue.hold_again(pgqueue.jobs, text, integer) from public;

-- What the parents of a job came to, for its handler. Raises PQ003 for no such job.
create or replace function pgqueue.parent_results(p_job_id uuid)
returns table (parent_id uuid, job_type text, status text, result jsonb, result_url text, errors jsonb)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant text := pgqueue.current_tenant();
begin
    perform pgqueue.check_job(p_job_id);
    return query
        select f.job_id, f.job_type, f.status, f.result, f.result_url, f.errors
        from pgqueue.jobs j
        cross join unnest(j.depends_on) with ordinality as d (parent_id, n)
        join pgqueue.finished f on f.job_id = d.parent_id
        where j.id = p_job_id
            and (v_tenant is null or exists (select from pgqueue.jobs o where o.id = d.parent_id and o.tenant_id = v_tenant))
        order by d.n;
end
$$;
revoke all on function pgqueue.parent_results(uuid) from public;

-- All jobs that are connected with this one by depends_on, in either direction, at most p_limit. A confined
-- session sees its own tenant's.
create or replace function pgqueue.workflow(p_job_id uuid, p_limit integer default 1000)
returns table (job_id uuid, job_type text, status text, depends_on uuid[], on_parent_failure text)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_all uuid[] := array[p_job_id];
    v_edge uuid[] := array[p_job_id];
    v_tenant text := pgqueue.current_tenant();
begin
    perform pgqueue.check_job(p_job_id);
    while v_edge <> '{}' and cardinality(v_all) < p_limit loop
        v_edge := array(
            select distinct x.id
            from (
                select p as id from pgqueue.jobs j cross join unnest(j.depends_on) p where j.id = any (v_edge)
                union all
                select j.id from pgqueue.jobs j where j.depends_on is not null and j.depends_on && v_edge
            ) x
            where x.id <> all (v_all)
                and (v_tenant is null or exists (select from pgqueue.jobs j where j.id = x.id and j.tenant_id = v_tenant))
            order by x.id
            limit p_limit - cardinality(v_all));
        v_all := v_all || v_edge;
    end loop;
    return query
        select s.id, s.job_type, s.status, j.depends_on, case when j.depends_on is not null then coalesce(j.on_parent_failure, 'fail') end
        from pgqueue.job_status s
        join pgqueue.jobs j on j.id = s.id
        where s.id = any (v_all)
        order by s.id;
end
$$;
revoke all on function pgqueue.workflow(uuid, integer) from public;
