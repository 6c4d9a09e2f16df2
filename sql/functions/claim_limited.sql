-- Claiming what limits may be about: claim() comes here with what it has picked. The protocol is told in limits.sql.
--
-- Per call: weigh, park and start what claim() has picked; then pick, weigh, park and start, in passes, until p_limit jobs have started or nothing is left. A call parks at
-- most about 2,000 jobs and then rings for the next one, so that jobs behind a million parked ones are reached.
-- Later passes pick more than they may start, for most may be parked. If they are not, the rows behind the last start are let go at once, by a
-- savepoint: held until the commit, other claims would pass over them and start later ones. A claim that comes in the milliseconds
-- between still does. To look without locks, and lock then, ends that and costs more than it is worth: eight claimers that parked
-- 1,000 jobs of a rate saw the same rows, and started 45 in two seconds instead of 200.

-- Pick and lock up to p_limit ready rows as claim() does; returns where they are. Each priority of a queue is two lanes: jobs that were let out (positions below zero, no
-- floor), then the others. p_left: rows that this call has seen and left.
create or replace function pgqueue.pick_ready(
    p_queues text[],
    p_limit integer,
    p_floors bigint[],
    p_types text[],
    p_not_now text[],
    p_left uuid[]
)
returns tid[]
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_sort = off
set enable_bitmapscan = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
    v_queues integer := cardinality(p_queues);
begin
    return array(
        select x.tid
        from generate_series(0, 8 * v_queues - 1) as lane (n)
        cross join lateral (
            select r.ctid as tid
            from pgqueue.ready r
            where r.queue = p_queues[lane.n % v_queues + 1]
                and r.priority = (lane.n / (2 * v_queues))::smallint
                and r.pos >= case when lane.n / v_queues % 2 = 0 then -9223372036854775807
                    else coalesce(p_floors[lane.n % v_queues * 4 + lane.n / (2 * v_queues) + 1], 0) end
                and r.pos < case when lane.n / v_queues % 2 = 0 then 0 else 9223372036854775807 end
                and (p_types is null or r.job_type = any (p_types))
                and (p_not_now = '{}' or r.job_type <> all (p_not_now))
                and (p_left = '{}' or r.job_id <> all (p_left))
                and (r.expires_at is null or r.expires_at > clock_timestamp())
                and not exists (select from pgqueue.queues k where k.queue = p_queues[lane.n % v_queues + 1] and k.paused_at is not null)
                and array_position(p_queues, p_queues[lane.n % v_queues + 1]) = lane.n % v_queues + 1
            order by r.pos
            limit p_limit
            for update of r skip locked
        ) x
        limit p_limit);
end
$$;
revoke all on function pgqueue.pick_ready(text[], integer, bigint[], text[], text[], uuid[]) from public;

-- Ready rows that the caller has locked, in the order given.
create or replace function pgqueue.rows_at(p_tids tid[])
returns pgqueue.ready[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
begin
    return array(
        select x.r
        from unnest(p_tids) as u (tid)
        cross join lateral (select w as r from pgqueue.ready w where w.ctid = u.tid limit 1) x);
end
$$;
revoke all on function pgqueue.rows_at(tid[]) from public;

-- Whether any of these rows may have to pass a gate, by what the rows themselves tell. False spares the look at each job: claims of 100 jobs that no
-- limit is about took 13 to 20 % more buffers from INSERT to report, and 16 to 26 % more CPU, as soon as anybody had a limit or an ordering key.
-- Proved by tests/sql/test_cost_of_others.py.
create or replace function pgqueue.may_be_limited(p_rows pgqueue.ready[])
returns boolean
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
begin
    return exists (select from pgqueue.limits l where l.kind = 'tenant' or (l.kind = 'key' and l.name = '*'))
        or exists (
            select from (select r.job_type, r.queue, bit_or(r.flags) as flags from unnest(p_rows) r group by r.job_type, r.queue) d
            where d.flags & 32 <> 0
                or exists (select from pgqueue.limits l where l.kind in ('job_type', 'key') and l.name = d.job_type)
                or exists (select from pgqueue.limits l where l.kind = 'queue' and l.name = d.queue));
end
$$;
revoke all on function pgqueue.may_be_limited(pgqueue.ready[]) from public;

-- Decide about picked rows, in their order: fates[i] = 'start', 'park' (under gates[i]) or 'leave'. slot_jobs and slot_gates: the places that
-- those which start occupy. Takes gates' locks and, as of at,
-- tokens. Of rows that may start the first p_limit do.
create or replace function pgqueue.weigh(
    p_rows pgqueue.ready[],
    p_limit integer,
    out fates text[],
    out gates text[],
    out slot_jobs uuid[],
    out slot_gates text[],
    out held text[],
    out at timestamptz
)
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
    v_of integer[];
    v_gate text[];
    v_names text[];
    v_room bigint[];
    v_takes boolean[];
    v_head uuid[];
    v_rated boolean[];
    v_admitted integer[];
    v_first integer;
    v_next integer := 1;
    v_at integer;
    v_started integer := 0;
    v_fate text;
    v_blocker text;
begin
    slot_jobs := array[]::uuid[];
    slot_gates := array[]::text[];
    held := array[]::text[];
    at := clock_timestamp();
    if cardinality(p_rows) <= p_limit and not pgqueue.may_be_limited(p_rows) then
        fates := array_fill('start'::text, array[cardinality(p_rows)]);
        return;
    end if;
    select array_agg(x.n order by x.n, x.gate), array_agg(x.gate order by x.n, x.gate)
    into v_of, v_gate
    from (
        select u.n, g as gate
        from unnest(array(select generate_series(1, cardinality(p_rows))), p_rows) as u (n)
        cross join lateral (
            select w.tenant_id, w.concurrency_key, w.ordering_key from pgqueue.jobs w where w.id = u.job_id limit 1
        ) j
        cross join lateral pgqueue.gates_of(u.job_type, u.queue, j.tenant_id, j.concurrency_key, j.ordering_key) g
    ) x;
    if v_of is not null then
        held := pgqueue.hold_gates(v_gate);
        at := clock_timestamp();
        -- A new statement: it sees what the last holders of these locks have committed.
        select array_agg(r.gate), array_agg(r.room), array_agg(r.takes_slot), array_agg(r.head), array_agg(r.step is not null)
        into v_names, v_room, v_takes, v_head, v_rated
        from pgqueue.gate_room(held, at) r;
        v_admitted := array_fill(0, array[coalesce(cardinality(v_names), 0)]);
    end if;
    for i in 1..cardinality(p_rows) loop
        v_first := v_next;
        v_fate := case when v_started < p_limit then 'start' else 'leave' end;
        v_blocker := null;
        while v_of[v_next] = i loop
            v_at := array_position(v_names, v_gate[v_next]);
            if v_at is null then
                v_fate := case v_fate when 'park' then 'park' else 'leave' end;
            elsif v_fate <> 'park' and (v_room[v_at] <= 0 or v_head[v_at] <> (p_rows[i]).job_id) then
                v_fate := 'park';
                v_blocker := v_gate[v_next];
            end if;
            v_next := v_next + 1;
        end loop;
        if v_fate = 'start' then
            v_started := v_started + 1;
            for k in v_first..v_next - 1 loop
                v_at := array_position(v_names, v_gate[k]);
                v_room[v_at] := v_room[v_at] - 1;
                v_admitted[v_at] := v_admitted[v_at] + 1;
                if v_takes[v_at] then
                    slot_jobs := slot_jobs || (p_rows[i]).job_id;
                    slot_gates := slot_gates || v_gate[k];
                end if;
            end loop;
        end if;
        fates := fates || v_fate;
        gates := gates || v_blocker;
    end loop;
    if true = any (v_rated) then
        perform pgqueue.take_tokens(v_names, v_admitted, at);
    end if;
end
$$;
revoke all on function pgqueue.weigh(pgqueue.ready[], integer) from public;

-- Take tokens from the buckets of gates whose locks the caller holds: a new row each, and the one before goes.
create or replace function pgqueue.take_tokens(p_gates text[], p_tokens integer[], p_at timestamptz)
returns void
language sql
volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
    with spent as (
        select r.gate, r.bucket, r.full_at + u.n * r.step as full_at
        from unnest(p_gates, p_tokens) as u (gate, n)
        join pgqueue.gate_room(p_gates, p_at) r on r.gate = u.gate
        where u.n > 0 and r.step is not null
    ), gone as (
        delete from pgqueue.gate_buckets b using spent s where b.gate = s.gate and b.id = s.bucket
    )
    insert into pgqueue.gate_buckets (gate, full_at) select s.gate, s.full_at from spent s;
$$;
revoke all on function pgqueue.take_tokens(text[], integer[], timestamptz) from public;

-- Park ready rows that the caller has locked.
create or replace function pgqueue.park(p_tids tid[], p_rows pgqueue.ready[], p_fates text[], p_gates text[])
returns void
language sql
volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
    with parked as materialized (
        select u.*
        from unnest(p_tids, p_fates, p_gates, p_rows) as u (tid, fate, gate)
        where u.fate = 'park'
    ), gone as (
        delete from pgqueue.ready r where r.ctid = any (array(select p.tid from parked p))
    )
    insert into pgqueue.blocked (job_id, reason, gate, pos, ready_at, queue, priority, job_type, attempts, flags, expires_at)
    select p.job_id, 'limit', p.gate, case when p.pos < 0 then p.pos + 4611686018427387904 else p.pos end, p.ready_at, p.queue, p.priority,
        p.job_type, p.attempts, p.flags, p.expires_at
    from parked p;
$$;
revoke all on function pgqueue.park(tid[], pgqueue.ready[], text[], text[]) from public;

-- The rest of claim(), which has checked its arguments and the worker, and consumed openings. p_picked: the rows that it has picked and locked, NULL = it
-- has not. p_again: an opening was busy.
create or replace function pgqueue.claim_limited(
    p_worker bigint,
    p_queues text[],
    p_limit integer,
    p_floors bigint[],
    p_types text[],
    p_not_now text[],
    p_max_attempts integer,
    p_picked tid[],
    p_again boolean
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
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_sort = off
set enable_bitmapscan = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
    v_tids tid[] := p_picked;
    v_rows pgqueue.ready[];
    v_fates record;
    v_started bigint := 0;
    v_now bigint;
    v_exact boolean;
    v_needed integer;
    v_parked integer := 0;
    v_left uuid[] := array[]::uuid[];
    v_pick integer := p_limit;
    v_again boolean := p_again;
begin
    for v_pass in 1..100 loop
        v_exact := v_pick <= p_limit - v_started;
        if not v_exact then
            begin
                v_tids := pgqueue.pick_ready(p_queues, v_pick, p_floors, p_types, p_not_now, v_left);
                v_rows := pgqueue.rows_at(v_tids);
                v_fates := pgqueue.weigh(v_rows, (p_limit - v_started)::integer);
                v_needed := (array_positions(v_fates.fates, 'start'))[p_limit - v_started];
                if v_needed < cardinality(v_rows) then
                    raise exception using errcode = 'PQ000';
                end if;
            exception when sqlstate 'PQ000' then
                v_pick := v_needed;
                v_exact := true;
            end;
        end if;
        if v_exact then
            if v_pass > 1 or v_tids is null then
                v_tids := pgqueue.pick_ready(p_queues, v_pick, p_floors, p_types, p_not_now, v_left);
            end if;
            v_rows := pgqueue.rows_at(v_tids);
            v_fates := pgqueue.weigh(v_rows, (p_limit - v_started)::integer);
        end if;
        exit when v_rows = '{}';
        if 'park' = any (v_fates.fates) then
            perform pgqueue.park(v_tids, v_rows, v_fates.fates, v_fates.gates);
            v_parked := v_parked + cardinality(array_positions(v_fates.fates, 'park'));
        end if;
        return query
            with started as materialized (
                select u.*, nextval('pgqueue.token_seq') as token
                from unnest(v_tids, v_fates.fates, v_rows) as u (tid, fate)
                where u.fate = 'start'
            ), gone as (
                delete from pgqueue.ready r where r.ctid = any (array(select s.tid from started s))
            ), owned as materialized (
                select s.*, coalesce(j.max_attempts, t.max_attempts, p_max_attempts) as max_attempts,
                    -- Seconds, as in claim().
                    least(coalesce(j.timeout, t.timeout),
                        make_interval(secs => extract(epoch from j.deadline_at - v_fates.at)::double precision)) as timeout,
                    j.payload::text as payload,
                    case when s.flags & 256 = 0 then j.headers::text else pgqueue.headers_with_signals(s.job_id, j.headers) end as headers,
                    j.tenant_id as whose, j.created_at
                from started s
                cross join lateral (
                    select w.max_attempts, w.timeout, w.payload, w.headers, w.tenant_id, w.created_at, w.deadline_at
                    from pgqueue.jobs w where w.id = s.job_id limit 1
                ) j
                left join lateral (
                    select jt.max_attempts, jt.timeout from pgqueue.job_types jt where jt.job_type = s.job_type limit 1
                ) t on true
            ), moved as (
                insert into pgqueue.running (job_id, token, worker_id, attempt, queue, priority, job_type, flags, ready_at,
                    started_at, deadline_at)
                select o.job_id, o.token, p_worker, o.attempts + 1, o.queue, o.priority, o.job_type,
                    case when o.job_id = any (v_fates.slot_jobs) then o.flags | 32 else o.flags end, o.ready_at,
                    v_fates.at, v_fates.at + o.timeout
                from owned o
            ), placed as (
                insert into pgqueue.slots (job_id, token, gate)
                select g.job_id, s.token, g.gate
                from unnest(v_fates.slot_jobs, v_fates.slot_gates) as g (job_id, gate)
                join started s on s.job_id = g.job_id
            )
            select o.job_id, o.token, o.job_type, o.queue, o.priority, o.pos, o.attempts + 1, o.max_attempts,
                date_part('epoch', o.timeout), o.payload, o.headers, o.whose, o.created_at, o.ready_at
            from owned o;
        get diagnostics v_now = row_count;
        v_started := v_started + v_now;
        if v_fates.held <> '{}' then
            perform pgqueue.settle_gates(v_fates.held);
        end if;
        v_left := v_left || array(select u.job_id from unnest(v_fates.fates, v_rows) as u (fate) where u.fate = 'leave');
        exit when cardinality(v_rows) < v_pick or v_started >= p_limit;
        v_again := v_again or v_parked >= 2000;
        exit when v_parked >= 2000 or cardinality(v_left) >= 1000;
        v_pick := least(greatest(p_limit - v_started, 50 << least(v_pass, 5)), 1000);
    end loop;
    -- What was left, or lies behind, must not wait for somebody to come by. The pause: whoever holds the lock commits soon.
    if v_again or v_left <> '{}' then
        perform pgqueue.ring(p_queues);
        if v_started = 0 and v_parked = 0 then
            perform pg_sleep(0.002);
        end if;
    end if;
    return;
end
$$;
revoke all on function pgqueue.claim_limited(bigint, text[], integer, bigint[], text[], text[], integer, tid[], boolean) from public;
