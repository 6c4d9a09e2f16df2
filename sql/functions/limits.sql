-- Limits: at most so many jobs at once, at most so many starts in a time, and jobs of one key one after another.
--
-- What is counted together is a gate: the id of a row of pgqueue.limits and, where each tenant or key counts alone, whose ('7', '7:acme:k1').
-- Gate '0:<tenant>:<key>' is an ordering key: one job at a time, and only the first of pgqueue.ordered_jobs. A gate is no row: 100,000 keys that
-- nobody uses cost nothing.
--
-- Producers know nothing of gates. Jobs wait in ready as any other, and a claim (claim_limited.sql) parks those that may not run: in blocked,
-- reason 'limit', under the gate that refused them. What it costs follows the jobs admitted, for a parked job is not looked at again before its turn.
--
--   1. Who admits or parks holds the gate's lock (class 7067006), taken by try, never waited for. What is running is counted in a new statement
--      after that, so the count has all that earlier holders did. A slot counts while its attempt is in running: a crash frees it.
--   2. Who ends an attempt, or takes away a job that was let out, takes no lock: he appends an opening and rings (leave_gates()).
--   3. Any claim, promote() and maintain() consume due openings: with the gate's lock, then in a new statement, let out as many jobs as there is room
--      (let_out()). They go back to ready, to positions below zero, which claims look at first: a job keeps its place in the order of arrival.
--   No wake-up is lost: a claim that parked a job because of an attempt that was just ending holds the lock until its commit; the opening of
--   that attempt is consumed by somebody who gets the lock after that, and sees the parked job. An opening whose lock is busy stays.
--   4. A claim that could not get a lock leaves the job in ready and rings, and so does one that parked very many. Whoever holds locks and
--      leaves room where others are parked appends an opening (settle_gates()); without a token, one for the time of the next.
--      A change of a limit sees what is parked, not what a claim in flight is parking under the old one, to be looked at when a token of the old
--      rate would come. So the change leaves an opening of the gate '-<id>'; a second after that was consumed, which nobody can before the
--      change has committed, one of the gate '-<id>:' has everything looked at once more that is parked under this limit.
--   5. Besides the first jobs in order, one of each queue and type is let out: if the first ones are paused or nobody takes them, those others run.
--
-- Rates are token buckets on the database's clock: full_at says when the bucket will be full again, each start moves it on by rate_step. With a burst
-- of 1 never more than rate_jobs start within any rate_interval; a burst of b adds b - 1. After the clock was set back nobody waits longer
-- than a whole bucket takes to fill.
--
-- Ordering: the insert trigger writes each job with an ordering_key down; the row goes when the job finishes, and the next one's turn has come.
-- A job that was inserted first but committed after a later one had started runs after that one.
--
-- Until there is a limit or a job with an ordering_key (settings.limited), claims know nothing of all this. claim_job() obeys no limit,
-- but what it starts counts. Lock order: gates after everything else, without waiting.
-- Proved by tests/sql/test_limits.py, tests/sql/test_ordering.py, tests/sql/test_rates.py and tests/races/test_limits.py.

-- The gates that a job must pass. For a tenant its own limit or else that of '*'; for a concurrency_key those of its type and of '*'.
create or replace function pgqueue.gates_of(
    p_job_type text,
    p_queue text,
    p_tenant_id text,
    p_concurrency_key text,
    p_ordering_key text
)
returns setof text
language sql
stable
begin atomic
    select '0:' || coalesce(quote_ident(p_tenant_id), '') || ':' || p_ordering_key
    where p_ordering_key is not null
    union all
    select l.id::text from pgqueue.limits l where l.kind = 'job_type' and l.name = p_job_type
    union all
    select l.id::text from pgqueue.limits l where l.kind = 'queue' and l.name = p_queue
    union all
    select l.id || ':' || quote_ident(p_tenant_id) from pgqueue.limits l where l.kind = 'tenant' and l.name = p_tenant_id
    union all
    select l.id || ':' || quote_ident(p_tenant_id) from pgqueue.limits l
    where p_tenant_id is not null and l.kind = 'tenant' and l.name = '*'
        and not exists (select from pgqueue.limits o where o.kind = 'tenant' and o.name = p_tenant_id)
    union all
    select l.id || ':' || coalesce(quote_ident(p_tenant_id), '') || ':' || p_concurrency_key from pgqueue.limits l
    where p_concurrency_key is not null and l.kind = 'key' and l.name = p_job_type
    union all
    select l.id || ':' || coalesce(quote_ident(p_tenant_id), '') || ':' || p_concurrency_key from pgqueue.limits l
    where p_concurrency_key is not null and l.kind = 'key' and l.name = '*';
end;
revoke all on function pgqueue.gates_of(text, text, text, text, text) from public;

-- How many more jobs each gate admits now. The caller holds the gates' locks if it acts on the answer. room is large where nothing limits (any more);
-- takes_slot: an admitted job occupies a place; full_at, step, bucket: the state of the rate; next_at: when the next token comes, if
-- none is left; head: of an ordering key, the only job that may run.
create or replace function pgqueue.gate_room(p_gates text[], p_at timestamptz default clock_timestamp())
returns table (
    gate text,
    room bigint,
    takes_slot boolean,
    full_at timestamptz,
    step interval,
    bucket bigint,
    next_at timestamptz,
    head uuid
)
language sql
stable
rows 10
set search_path = pg_catalog, pg_temp
as $$
    select g.gate,
        least(case when g.limit_id = 0 then 1 else l.max_running end - s.n, t.tokens, 1000000)::bigint,
        g.limit_id = 0 or l.max_running is not null,
        t.full_at, l.rate_step, b.id,
        case when t.tokens < 1 then t.full_at - (l.rate_burst - 1) * l.rate_step end,
        o.job_id
    from (select x as gate, split_part(x, ':', 1)::bigint as limit_id, p_at as at from unnest(p_gates) x) g
    left join lateral (
        -- '*' is not for a tenant that has got a row of its own since.
        select i.* from pgqueue.limits i
        where i.id = g.limit_id
            and case when i.kind = 'tenant' and i.name = '*' then not exists (
                select from pgqueue.limits o
                where o.kind = 'tenant' and o.name = (parse_ident(substr(g.gate, strpos(g.gate, ':') + 1)))[1]) else true end
        limit 1
    ) l on true
    left join lateral (
        select count(*) as n
        from pgqueue.slots h
        cross join lateral (select from pgqueue.running r where r.job_id = h.job_id and r.token = h.token limit 1) r
        where h.gate = g.gate
    ) s on g.limit_id = 0 or l.max_running is not null
    left join lateral (
        select k.id, k.full_at from pgqueue.gate_buckets k where k.gate = g.gate order by k.id desc limit 1
    ) b on l.rate_jobs is not null
    left join lateral (
        select f.full_at, floor(l.rate_burst - extract(epoch from f.full_at - g.at) / extract(epoch from l.rate_step)) as tokens
        from (select least(greatest(b.full_at, g.at), g.at + l.rate_burst * l.rate_step) as full_at) f
    ) t on l.rate_jobs is not null
    left join lateral (
        select w.job_id from pgqueue.ordered_jobs w where w.gate = g.gate order by w.seq limit 1
    ) o on g.limit_id = 0;
$$;
revoke all on function pgqueue.gate_room(text[], timestamptz) from public;

-- Let out the first p_count jobs that are parked at a gate, and the first of each queue and type; of an ordering key the one whose turn it is.
-- Returns the queue of each. The caller holds the gate's lock, and rings. What somebody is changing at this moment is passed over.
create or replace function pgqueue.let_out(p_gate text, p_count integer, p_head uuid)
returns setof text
language sql
volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
    with recursive combos as (
        (select b.queue, b.job_type from pgqueue.blocked b where b.gate = p_gate and p_head is null order by b.queue, b.job_type limit 1)
        union all
        select n.queue, n.job_type
        from combos c
        cross join lateral (
            select b.queue, b.job_type from pgqueue.blocked b
            where b.gate = p_gate and (b.queue, b.job_type) > (c.queue, c.job_type)
            order by b.queue, b.job_type limit 1
        ) n
    ), heads as materialized (
        select h.*
        from combos c
        cross join lateral (
            select b.ctid as tid, b.queue, b.job_type, b.priority, b.pos from pgqueue.blocked b
            where b.gate = p_gate and b.queue = c.queue and b.job_type = c.job_type
            order by b.priority, b.pos
            limit p_count
            for update skip locked
        ) h
    ), chosen as (
        select x.tid
        from (
            select h.tid, row_number() over (order by h.priority, h.pos) as n,
                row_number() over (partition by h.queue, h.job_type order by h.priority, h.pos) as n_of_kind
            from heads h
        ) x
        where x.n <= p_count or x.n_of_kind = 1
        union all
        select h.tid from (
            select b.ctid as tid from pgqueue.blocked b where b.job_id = p_head and b.gate = p_gate for update skip locked
        ) h
    ), gone as (
        delete from pgqueue.blocked b where b.ctid = any (array(select c.tid from chosen c)) returning b.*
    )
    insert into pgqueue.ready (job_id, pos, ready_at, expires_at, attempts, flags, priority, queue, job_type)
    select g.job_id, g.pos - 4611686018427387904, g.ready_at, g.expires_at, g.attempts, g.flags, g.priority, g.queue, g.job_type
    from gone g
    returning queue;
$$;
revoke all on function pgqueue.let_out(text, integer, uuid) from public;

-- An opening at a later time, unless there is one by then.
create or replace function pgqueue.open_later(p_gate text, p_opens_at timestamptz)
returns void
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
    insert into pgqueue.openings (gate, opens_at, made_at)
    select p_gate, p_opens_at, least(clock_timestamp(), p_opens_at - interval '1 microsecond')
    where not exists (
        select from pgqueue.openings o where o.gate = p_gate and o.opens_at > o.made_at and o.opens_at <= p_opens_at);
$$;
revoke all on function pgqueue.open_later(text, timestamptz) from public;

-- Consume due openings, at most 64, letting out about p_limit jobs at most. True = a gate's lock was busy, so there is more to do.
create or replace function pgqueue.open_gates(p_limit integer default 1000)
returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_sort = off
set enable_bitmapscan = off
set jit = off
as $$
declare
    v_tids tid[];
    v_due text[];
    v_held text[];
    v_room record;
    v_want integer;
    v_out text[];
    v_queues text[] := array[]::text[];
begin
    select array_agg(x.tid), array_agg(x.gate) into v_tids, v_due
    from (
        select o.ctid as tid, o.gate from pgqueue.openings o
        where o.opens_at <= clock_timestamp()
        order by o.opens_at
        limit 64
        for update skip locked
    ) x;
    if v_tids is null then
        return false;
    end if;
    v_held := pgqueue.hold_gates(v_due);
    delete from pgqueue.openings o
    where o.ctid = any (array(select u.tid from unnest(v_tids, v_due) as u (tid, gate) where u.gate = any (v_held)));
    perform pgqueue.open_limit(split_part(substr(g, 2), ':', 1)::bigint) from unnest(v_held) g where starts_with(g, '-');
    -- Not open_later(): what a change just before has left comes too early for this one.
    insert into pgqueue.openings (gate, opens_at, made_at)
    select g || ':', x.at + interval '1 second', x.at
    from unnest(v_held) g, (select clock_timestamp() as at) x
    where g ~ '^-[0-9]+$';
    for v_room in select * from pgqueue.gate_room(v_held) loop
        v_want := least(v_room.room, p_limit);
        v_out := array[]::text[];
        if v_want > 0 then
            v_out := array(select q from pgqueue.let_out(v_room.gate, v_want, v_room.head) q);
            v_queues := v_queues || v_out;
            p_limit := greatest(p_limit - cardinality(v_out), 1);
        end if;
        if v_room.head is null and exists (select from pgqueue.blocked b where b.gate = v_room.gate) then
            if v_room.next_at is not null then
                perform pgqueue.open_later(v_room.gate, v_room.next_at);
            elsif v_room.step is not null and v_want = v_room.room then
                -- By then the jobs just let out have taken their tokens: the maintenance learns of the time at once.
                perform pgqueue.open_later(v_room.gate, clock_timestamp() + v_room.step);
            elsif v_want > 0 and cardinality(v_out) < v_want then
                -- Somebody has his hands on those that are left, and may let go of them without a word.
                perform pgqueue.open_later(v_room.gate, clock_timestamp() + interval '1 second');
            elsif v_want > 0 and v_want < v_room.room then
                insert into pgqueue.openings (gate) values (v_room.gate);
            end if;
        elsif v_room.head is not null and v_want > 0 and v_out = '{}'
            and exists (select from pgqueue.blocked b where b.job_id = v_room.head and b.gate = v_room.gate)
        then
            perform pgqueue.open_later(v_room.gate, clock_timestamp() + interval '1 second');
        end if;
    end loop;
    if v_queues <> '{}' then
        perform pgqueue.ring(array(select distinct q from unnest(v_queues) q));
    end if;
    return exists (select from unnest(v_due) d where d <> all (v_held));
end
$$;
revoke all on function pgqueue.open_gates(integer) from public;

-- When to look at gates again. One that is due already was busy just now.
create or replace function pgqueue.next_opening()
returns timestamptz
language sql
stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_sort = off
set enable_bitmapscan = off
set jit = off
as $$
    select o.opens_at from pgqueue.openings o
    where (select s.limited from pgqueue.settings s)
    order by o.opens_at limit 1;
$$;
revoke all on function pgqueue.next_opening() from public;

-- Try the locks of these gates; returns those that were got. At most 100 distinct ones: the server's lock table is for everybody.
create or replace function pgqueue.hold_gates(p_gates text[])
returns text[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_gate text;
    v_tried text[] := array[]::text[];
    v_held text[] := array[]::text[];
begin
    foreach v_gate in array p_gates loop
        if v_gate <> all (v_tried) then
            exit when cardinality(v_tried) = 100;
            v_tried := v_tried || v_gate;
            if pg_try_advisory_xact_lock(7067006, hashtext(v_gate)) then
                v_held := v_held || v_gate;
            end if;
        end if;
    end loop;
    return v_held;
end
$$;
revoke all on function pgqueue.hold_gates(text[]) from public;

-- Gates with room and parked jobs after an admission: an opening, now or when the next token comes. The caller holds their locks.
create or replace function pgqueue.settle_gates(p_gates text[])
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
    v_room record;
begin
    p_gates := array(select g from unnest(p_gates) g
        where not starts_with(g, '0:') and exists (select from pgqueue.blocked b where b.gate = g));
    if p_gates = '{}' then
        return;
    end if;
    for v_room in select * from pgqueue.gate_room(p_gates) loop
        if v_room.next_at is not null then
            perform pgqueue.open_later(v_room.gate, v_room.next_at);
        elsif v_room.room > 0 then
            insert into pgqueue.openings (gate) values (v_room.gate);
        end if;
    end loop;
end
$$;
revoke all on function pgqueue.settle_gates(text[]) from public;

-- These attempts have ended: their places are free. The caller has moved them out of running, and rings.
create or replace function pgqueue.leave_gates(p_job_ids uuid[])
returns void
language sql
volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
    with gone as (
        delete from pgqueue.slots s where s.job_id = any (p_job_ids) returning s.gate
    )
    insert into pgqueue.openings (gate) select distinct g.gate from gone g;
$$;
revoke all on function pgqueue.leave_gates(uuid[]) from public;

-- An attempt has ended without finishing its job: its places are free. Returns the flags that the job has now.
create or replace function pgqueue.leave_places(p_running pgqueue.running)
returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if p_running.flags & 32 = 0 then
        return p_running.flags;
    end if;
    perform pgqueue.leave_gates(array[p_running.job_id]);
    perform pgqueue.ring(array[p_running.queue]);
    if exists (select from pgqueue.ordered_jobs o where o.job_id = p_running.job_id) then
        return p_running.flags;
    end if;
    return p_running.flags & ~32;
end
$$;
revoke all on function pgqueue.leave_places(pgqueue.running) from public;

-- A job that was let out, or whose turn it is, goes where no claim finds it: the next one may take its place.
create or replace function pgqueue.reopen_gates(p_job_id uuid, p_queue text)
returns void
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
    insert into pgqueue.openings (gate)
    select g
    from pgqueue.jobs j
    cross join lateral pgqueue.gates_of(j.job_type, p_queue, j.tenant_id, j.concurrency_key, j.ordering_key) g
    where j.id = p_job_id;
$$;
revoke all on function pgqueue.reopen_gates(uuid, text) from public;

-- From now on claims look at limits. Never waits: another session that is about to say so says it for this one, or else maintain() does.
create or replace function pgqueue.start_limiting()
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if not (select s.limited from pgqueue.settings s) then
        perform from pgqueue.settings s where not s.limited for update skip locked;
        if found then
            update pgqueue.settings s set limited = true;
        end if;
    end if;
end
$$;
revoke all on function pgqueue.start_limiting() from public;

-- Write down the order of those of these jobs that have an ordering_key, as given: the insert trigger does for new ones with an ordering_key, retry() for one that waits again.
create or replace function pgqueue.enter_order(p_job_ids uuid[])
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    insert into pgqueue.ordered_jobs (gate, job_id)
    select '0:' || coalesce(quote_ident(j.tenant_id), '') || ':' || j.ordering_key, j.id
    from unnest(p_job_ids) with ordinality as u (id, n)
    cross join lateral (select w.id, w.tenant_id, w.ordering_key from pgqueue.jobs w where w.id = u.id limit 1) j
    where j.ordering_key is not null
    order by u.n
    on conflict (job_id) do nothing;
    perform pgqueue.start_limiting();
end
$$;
revoke all on function pgqueue.enter_order(uuid[]) from public;

-- These jobs have finished (or are gone): the next of their keys may run. One that failed and was inserted with ordering_on_failure
-- 'block' keeps its place until it is retried and succeeds, or skip_ordered() takes it away.
create or replace function pgqueue.leave_order(p_job_ids uuid[])
returns void
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
    with gone as (
        delete from pgqueue.ordered_jobs o
        where o.job_id = any (p_job_ids)
            -- Looked up, not joined: complete_owned() turns nested loops off, and a hash of jobs reads a million of them at each report.
            and not coalesce((select j.ordering_on_failure from pgqueue.jobs j where j.id = o.job_id) = 'block'
                and (select f.status from pgqueue.finished f where f.job_id = o.job_id) = 'failed', false)
        returning o.gate
    )
    insert into pgqueue.openings (gate) select distinct g.gate from gone g;
$$;
revoke all on function pgqueue.leave_order(uuid[]) from public;
