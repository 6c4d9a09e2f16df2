-- Limits: at most so many jobs at once, at most so many starts in a time, and jobs of one key one after another.
--
-- What is counted together is a gate: the id of a row of pgqueue.limits and, where each tenant or key counts alone, whose ('7', '7:acme:k1').
-- Gate '0:<tenant>:<key>' is an ordering key: one job at a time, and only the first of pgqueue.ordered_jobs. A gate is no row: 100,000 keys that
-- nobody uses cost nothing.
--
-- The parts: set_limit.sql makes limits and tends them, claim_limited.sql parks and starts, openings.sql lets out, ordering.sql keeps the order of keys.
-- Which limits may be about a job is said four times, each as exactly as its caller needs: gates_of() here, may_be_limited() in claim_limited.sql,
-- note_limit() and forget_names() in set_limit.sql. A new kind of limit belongs in all.
--
-- Producers know nothing of gates. Jobs wait in ready as any other, and a claim (claim_limited.sql) parks those that may not run: in blocked,
-- reason 'limit', under the gate that refused them. What it costs follows the jobs admitted, for a parked job is not looked at again before its turn.
--
--   1. Who admits or parks holds the gate's lock (class 7067006), taken by try, never waited for. What is running is counted in a new statement
--      after that, so the count has all that earlier holders did. A slot counts while its attempt is in running: a crash frees it.
--   2. Who ends an attempt, or takes away a job that was let out, takes no lock: he appends an opening and rings (leave_gates() in openings.sql).
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
