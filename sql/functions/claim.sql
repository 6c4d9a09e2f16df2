-- Claiming: jobs move from ready to running, and the caller gets them with their fencing tokens.
--
-- Order: priority, then the queues as given, then position. Rows locked by another claim are skipped, so claims
-- never wait for each other and never hand out a job twice.
--
-- Floors: p_floors[(queue - 1) * 4 + priority + 1] is the position below which the caller has seen nothing left
-- (queue counted from 1 as in p_queues). It spares the scan over the dead index entries of jobs already claimed: with
-- 20,000 of them 228 buffers and 3.5 ms without floors, 4 buffers and 0.05 ms with. It is a hint, held in the
-- caller's memory. Jobs below it can still appear (a position drawn early, committed late), so callers claim without
-- floors (NULL) before they sleep and, while busy, at an interval that keeps such sweeps below 2 % of their time.
--
-- One plan at every size, with and without statistics: lanes (priority, then queue) come from one function scan, so no join
-- order is left to choose; the lateral subquery can only be an index scan in the order of ready_claim_key, the DELETE
-- goes by ctid, each job is looked up by its primary key. With a plain join the generic plan hashed whole tables
-- (100 ms instead of 1 ms). force_generic_plan: left to itself the planner thinks each custom plan cheaper and plans at every
-- call (a claim of one job with its commit 827 -> 335 us of CPU, of 100 jobs 26 -> 19 us each). MATERIALIZED is a must: an inlined SKIP LOCKED subquery
-- runs once per row of a nested loop and claims more than the limit.
-- Proved by tests/sql/test_claim.py, test_claim_flush.py and tests/races/test_claim.py. Models: tests/model/floors.py, tests/model/lease.py.
--
-- A claim waits for its flush, unless the caller says p_flush => false, in a transaction that does nothing else: an idle worker does (from
-- INSERT to handler, median of 350 jobs in turns, PostgreSQL 18: 4.69 -> 3.71 ms, the fastest tenth 3.39 -> 3.03).
-- A crash of the server within three times wal_writer_delay (0.6 s) may then take the claim back: the job is ready again as if it had
-- not started, while its handler still runs; that one's report is refused, for no token is drawn twice (tokens.sql). Where that does harm the claim
-- is flushed all the same: on the last attempt (max_attempts 1 means never twice), wherever there are limits or ordering, after a
-- leap, and in a transaction that has written before. Every later commit that waits for its flush, a report for one, flushes the claim too.
--
-- Beside limits and ordering keys (settings.limited) a claim looks twice where the others look once: first at what has been let out (positions below
-- zero), then at what it has picked. If no row is ordered, and none of a type or queue that some limit is about (settings.limited_names), all start
-- as they do elsewhere: a life in batches of 100 takes 191,600 instructions instead of 188,100. Through claim_limited(), which gets all others,
-- it took 209,800. It gets them as they were picked: to pick them anew would let others come between and leave some of these locked, passed
-- over by other claims. RETURN QUERY hands out rows and nothing else, so the places travel in a setting of this transaction, emptied before.
-- Tried: the same statement for plain claims too (122,000 instructions per claim more for those); this one inside claim_limited() (1,500 per
-- job more: rows pass through two functions); limits looked up in their table (1,000 per job, 100,000 per claim).
-- Its statement and pick_ready() repeat the plain one; tests/sql/test_claim_copies.py says in what they differ.
-- Proved by tests/sql/test_limits_of_others.py.
--
-- Commit a claim before you report its jobs: both in one transaction can deadlock with an enqueue() of the same unique key.

-- Raises PQ004 unless the worker may claim; returns the types that it handles (NULL = any). Takes the shared lock
-- that keeps rescue from declaring the worker dead while its claim is in flight, before it looks.
create or replace function pgqueue.check_worker(p_worker bigint)
returns text[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_worker pgqueue.workers;
begin
    perform pgqueue.check_isolation();
    perform pg_advisory_xact_lock_shared(7067003, (p_worker % 2147483647)::integer);
    select * into v_worker from pgqueue.workers w where w.id = p_worker;
    if not found or v_worker.dead_at is not null or v_worker.stopped_at is not null then
        raise exception using errcode = 'PQ004', message = format('worker %s is unknown, stopped or declared dead', p_worker),
            hint = 'Register again: select pgqueue.register_worker(name, queues).';
    end if;
    if v_worker.heartbeat_at + v_worker.lease < clock_timestamp() then
        raise exception using errcode = 'PQ004', message = format('the lease of worker %s ended at %s', p_worker,
                v_worker.heartbeat_at + v_worker.lease),
            hint = 'Call pgqueue.heartbeat(worker) before claiming; the default lease is 20 seconds.';
    end if;
    return v_worker.job_types;
end
$$;
revoke all on function pgqueue.check_worker(bigint) from public;

-- Claim up to p_limit jobs; p_queues NULL = those that the worker registered for. Payload and headers come as text:
-- PostgreSQL stores JSON that clients refuse to load,
-- and one such job must not strand its batch-mates. run_seconds_max NULL = no time limit.
create or replace function pgqueue.claim(
    p_worker bigint,
    p_queues text[] default null,
    p_limit integer default 1,
    p_floors bigint[] default null,
    p_flush boolean default true
)
returns table (
    job_id uuid,
    token bigint,
    job_type text,
    queue text,
    priority smallint,
    pos bigint,
    attempt integer,
    max_attempts integer,
    run_seconds_max double precision,
    payload text,
    headers text,
    tenant_id text,
    created_at timestamptz,
    ready_at timestamptz
)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_sort = off
set enable_bitmapscan = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
    v_alive boolean;
    v_types text[];
    v_queues integer;
    v_max_attempts integer;
    v_not_now text[];
    v_limited boolean;
    v_marked boolean;
    v_commit text;
    v_names text[];
    v_again boolean := false;
    v_started boolean;
    v_picked tid[];
begin
    if p_limit is null or p_limit < 1 or p_limit > 10000 then
        raise exception using errcode = 'PQ006', message = format('p_limit is %s, not between 1 and 10000', p_limit);
    end if;
    -- check_worker() written out, in one query with what else is looked up; it words the refusals. Lock, then look.
    perform pg_advisory_xact_lock_shared(7067003, (p_worker % 2147483647)::integer);
    select w.dead_at is null and w.stopped_at is null and w.heartbeat_at + w.lease >= clock_timestamp(), w.job_types,
        coalesce(p_queues, w.queues), s.max_attempts,
        array(select t.job_type from pgqueue.job_types t where t.paused_at is not null or not t.enabled), s.limited, s.limited_names,
        exists (select from pgqueue.token_marks m where m.made_by = m.xmin and m.made_in = m.tableoid)
    into v_alive, v_types, p_queues, v_max_attempts, v_not_now, v_limited, v_names, v_marked
    from pgqueue.settings s
    left join pgqueue.workers w on w.id = p_worker
    where s.only_row;
    if v_alive is not true or current_setting('transaction_isolation') in ('repeatable read', 'serializable') then
        perform pgqueue.check_worker(p_worker);
    end if;
    if v_marked is not true then
        perform pgqueue.leap_tokens();
    elsif not p_flush and not v_limited and pg_current_xact_id_if_assigned() is null then
        v_commit := current_setting('synchronous_commit');
        perform set_config('synchronous_commit', 'off', true);
    end if;
    v_queues := cardinality(p_queues);
    if v_limited then
        if exists (select from pgqueue.openings o where o.opens_at <= clock_timestamp()) then
            v_again := pgqueue.open_gates();
        end if;
        if '*' <> all (v_names) then
            -- Nobody else says what was picked.
            if current_setting('pgqueue.to_weigh', true) <> '' then
                perform set_config('pgqueue.to_weigh', '', true);
            end if;
            return query
                with picked as materialized (
                    select x.*
                    from generate_series(0, 8 * v_queues - 1) as lane (n)
                    cross join lateral (
                        select r.ctid as tid, r.job_id, r.queue, r.priority, r.pos, r.job_type, r.attempts, r.flags, r.ready_at
                        from pgqueue.ready r
                        where r.queue = p_queues[lane.n % v_queues + 1]
                            and r.priority = (lane.n / (2 * v_queues))::smallint
                            and r.pos >= case when lane.n / v_queues % 2 = 0 then -9223372036854775807
                                else coalesce(p_floors[lane.n % v_queues * 4 + lane.n / (2 * v_queues) + 1], 0) end
                            and r.pos < case when lane.n / v_queues % 2 = 0 then 0 else 9223372036854775807 end
                            and (v_types is null or r.job_type = any (v_types))
                            and (v_not_now = '{}' or r.job_type <> all (v_not_now))
                            and (r.expires_at is null or r.expires_at > clock_timestamp())
                            and not exists (select from pgqueue.queues k where k.queue = p_queues[lane.n % v_queues + 1] and k.paused_at is not null)
                            and array_position(p_queues, p_queues[lane.n % v_queues + 1]) = lane.n % v_queues + 1
                        order by r.pos
                        limit p_limit
                        for update of r skip locked
                    ) x
                    limit p_limit
                ), owned as materialized (
                    select p.*, nextval('pgqueue.token_seq') as token, clock_timestamp() as started_at,
                        coalesce(j.max_attempts, t.max_attempts, v_max_attempts) as max_attempts,
                        case when j.deadline_at is null then coalesce(j.timeout, t.timeout)
                            else least(coalesce(j.timeout, t.timeout), make_interval(secs => extract(epoch from j.deadline_at - clock_timestamp())::double precision)) end as timeout,
                        j.payload::text as payload,
                        case when p.flags & 256 = 0 then j.headers::text else pgqueue.headers_with_signals(p.job_id, j.headers) end as headers, j.tenant_id, j.created_at
                    from picked p
                    cross join lateral (
                        select w.max_attempts, w.timeout, w.payload, w.headers, w.tenant_id, w.created_at, w.deadline_at
                        from pgqueue.jobs w where w.id = p.job_id limit 1
                    ) j
                    left join lateral (
                        select jt.max_attempts, jt.timeout from pgqueue.job_types jt where jt.job_type = p.job_type limit 1
                    ) t on true
                    -- Once for all rows. Handed on as they are: picked anew, others might come between, and these stay locked.
                    where not (
                        select case when exists (
                            select from picked p where p.flags & 32 <> 0 or p.job_type = any (v_names) or p.queue = any (v_names)
                        ) then set_config('pgqueue.to_weigh', array(select p.tid from picked p)::text, true) <> '' else false end)
                ), gone as (
                    delete from pgqueue.ready r where r.ctid = any (array(select o.tid from owned o))
                ), moved as (
                    insert into pgqueue.running (job_id, token, worker_id, attempt, queue, priority, job_type, flags, ready_at,
                        started_at, deadline_at)
                    select o.job_id, o.token, p_worker, o.attempts + 1, o.queue, o.priority, o.job_type, o.flags, o.ready_at,
                        o.started_at, o.started_at + o.timeout
                    from owned o
                )
                select o.job_id, o.token, o.job_type, o.queue, o.priority, o.pos, o.attempts + 1, o.max_attempts,
                    date_part('epoch', o.timeout), o.payload, o.headers, o.tenant_id, o.created_at, o.ready_at
                from owned o;
            v_started := found;
            v_picked := nullif(current_setting('pgqueue.to_weigh', true), '')::tid[];
            -- All started, or nothing was there: this call is over, as claim_limited() ends.
            if v_started or v_picked is null then
                if v_again then
                    perform pgqueue.ring(p_queues);
                    perform pg_sleep(0.002) where not v_started;
                end if;
                return;
            end if;
        end if;
        return query
            select * from pgqueue.claim_limited(p_worker, p_queues, p_limit, p_floors, v_types, v_not_now, v_max_attempts, v_picked, v_again);
        return;
    end if;
    return query
        with picked as materialized (
            select x.*
            from generate_series(0, 4 * v_queues - 1) as lane (n)
            cross join lateral (
                select r.ctid as tid, r.job_id, r.queue, r.priority, r.pos, r.job_type, r.attempts, r.flags, r.ready_at
                from pgqueue.ready r
                where r.queue = p_queues[lane.n % v_queues + 1]
                    and r.priority = (lane.n / v_queues)::smallint
                    and r.pos >= coalesce(p_floors[lane.n % v_queues * 4 + lane.n / v_queues + 1], 0)
                    and (v_types is null or r.job_type = any (v_types))
                    and (v_not_now = '{}' or r.job_type <> all (v_not_now))
                    and (r.expires_at is null or r.expires_at > clock_timestamp())
                    -- Ordered: the settings have just come to say limited.
                    and r.flags & 32 = 0
                    and not exists (select from pgqueue.queues k where k.queue = p_queues[lane.n % v_queues + 1] and k.paused_at is not null)
                    -- A queue named twice: its second lane would find the rows that the first has locked, and they are ours.
                    and array_position(p_queues, p_queues[lane.n % v_queues + 1]) = lane.n % v_queues + 1
                order by r.pos
                limit p_limit
                for update of r skip locked
            ) x
            limit p_limit
        ), gone as (
            delete from pgqueue.ready r where r.ctid = any (array(select p.tid from picked p))
        ), owned as materialized (
            select p.*, nextval('pgqueue.token_seq') as token, clock_timestamp() as started_at,
                coalesce(j.max_attempts, t.max_attempts, v_max_attempts) as max_attempts,
                -- least() passes over NULLs, and the case over jobs without a deadline. Seconds, not days and hours: added to a
                -- time a day is 23 or 25 hours where the clocks change.
                case when j.deadline_at is null then coalesce(j.timeout, t.timeout)
                    else least(coalesce(j.timeout, t.timeout), make_interval(secs => extract(epoch from j.deadline_at - clock_timestamp())::double precision)) end as timeout,
                j.payload::text as payload,
                case when p.flags & 256 = 0 then j.headers::text else pgqueue.headers_with_signals(p.job_id, j.headers) end as headers, j.tenant_id, j.created_at,
                case when v_commit is not null and p.attempts + 1 >= coalesce(j.max_attempts, t.max_attempts, v_max_attempts)
                    then set_config('synchronous_commit', v_commit, true) end as flushed
            from picked p
            cross join lateral (
                select w.max_attempts, w.timeout, w.payload, w.headers, w.tenant_id, w.created_at, w.deadline_at
                from pgqueue.jobs w where w.id = p.job_id limit 1
            ) j
            left join lateral (
                select jt.max_attempts, jt.timeout from pgqueue.job_types jt where jt.job_type = p.job_type limit 1
            ) t on true
        ), moved as (
            insert into pgqueue.running (job_id, token, worker_id, attempt, queue, priority, job_type, flags, ready_at,
                started_at, deadline_at)
            select o.job_id, o.token, p_worker, o.attempts + 1, o.queue, o.priority, o.job_type, o.flags, o.ready_at,
                o.started_at, o.started_at + o.timeout
            from owned o
        )
        select o.job_id, o.token, o.job_type, o.queue, o.priority, o.pos, o.attempts + 1, o.max_attempts,
            date_part('epoch', o.timeout), o.payload, o.headers, o.tenant_id, o.created_at, o.ready_at
        from owned o;
end
$$;
revoke all on function pgqueue.claim(bigint, text[], integer, bigint[], boolean) from public;

-- Claim this one job, whatever its place in the queue (it must be ready; neither pauses nor limits hold it back, but it counts). No row = it is not.
create or replace function pgqueue.claim_job(p_worker bigint, p_job_id uuid)
returns table (
    job_id uuid,
    token bigint,
    job_type text,
    queue text,
    priority smallint,
    pos bigint,
    attempt integer,
    max_attempts integer,
    run_seconds_max double precision,
    payload text,
    headers text,
    tenant_id text,
    created_at timestamptz,
    ready_at timestamptz
)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_ready pgqueue.ready;
    v_job pgqueue.jobs;
    v_type pgqueue.job_types;
    v_timeout interval;
    v_token bigint := pgqueue.next_token();
    v_started_at timestamptz;
begin
    perform pgqueue.check_worker(p_worker);
    delete from pgqueue.ready r
    where r.job_id = p_job_id and (r.expires_at is null or r.expires_at > clock_timestamp())
    returning * into v_ready;
    if not found then
        return;
    end if;
    select * into v_job from pgqueue.jobs j where j.id = p_job_id;
    select * into v_type from pgqueue.job_types t where t.job_type = v_ready.job_type;
    v_started_at := clock_timestamp();
    v_timeout := least(coalesce(v_job.timeout, v_type.timeout),
        make_interval(secs => extract(epoch from v_job.deadline_at - v_started_at)::double precision));
    insert into pgqueue.running (job_id, token, worker_id, attempt, queue, priority, job_type, flags, ready_at, started_at, deadline_at)
    values (p_job_id, v_token, p_worker, v_ready.attempts + 1, v_ready.queue, v_ready.priority, v_ready.job_type,
        v_ready.flags, v_ready.ready_at, v_started_at, v_started_at + v_timeout);
    insert into pgqueue.slots (job_id, token, gate)
    select p_job_id, v_token, g
    from pgqueue.gates_of(v_ready.job_type, v_ready.queue, v_job.tenant_id, v_job.concurrency_key, v_job.ordering_key) g;
    if found then
        update pgqueue.running r set flags = r.flags | 32 where r.job_id = p_job_id;
    end if;
    return query
        select p_job_id, v_token, v_ready.job_type, v_ready.queue, v_ready.priority, v_ready.pos, v_ready.attempts + 1,
            coalesce(v_job.max_attempts, v_type.max_attempts, s.max_attempts),
            date_part('epoch', v_timeout), v_job.payload::text,
            case when v_ready.flags & 256 = 0 then v_job.headers::text else pgqueue.headers_with_signals(p_job_id, v_job.headers) end,
            v_job.tenant_id, v_job.created_at, v_ready.ready_at
        from pgqueue.settings s;
end
$$;
revoke all on function pgqueue.claim_job(bigint, uuid) from public;
