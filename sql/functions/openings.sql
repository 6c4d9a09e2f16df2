-- Openings: who ends an attempt leaves one, and whoever consumes it lets out what is parked. The protocol is told in limits.sql.

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
