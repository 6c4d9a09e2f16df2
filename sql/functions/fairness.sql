-- Turns between the tenants of a queue, by position: in a fair queue a job's place does not follow its arrival but a virtual time.
--
-- A tenant's jobs lie one step apart, beginning at the head of the lane (queue and priority) or behind the tenant's last waiting
-- job. A million jobs of one tenant lie at head + 1 ... head + 1,000,000 steps; another's single job, inserted later, at
-- head + 1. Claims and floors stay as they are: they follow positions. A step is 4,096 / weight positions, and the
-- sequence moves by 65,536 per job, so that no fair position lies beyond the last one drawn. Two things rest on that: a
-- lane that is empty begins again near the last one drawn, above whatever was claimed; and when fairness is turned
-- off, new jobs line up behind those that wait. Fair positions are even, drawn ones odd: workers tell them by that (worker/floors.py).
--
-- The bound: a job that is the only one of its tenant starts after at most ceil(2 * w) jobs of each other tenant that waits,
-- w = that tenant's weight / its own, besides those that were claimed before it was committed. The second of the
-- two is for the order of arrival between newcomers: up to one step more, by how much was inserted since the head.
--
-- Producers take no lock and update no row; two inserts of one tenant at once may share positions. What they read:
--   the newest lane_marks row, appended about once a second by maintenance: where to begin looking for the head and the tail, so that
--   dead index entries cost them no more than what was claimed since; and for an empty lane where to begin again.
--   That is the last position drawn before the oldest transaction now in flight began: whoever has inserted a million jobs and has
--   not committed must not push others behind them. Marks are kept for ten seconds; a transaction open for longer counts as early.
-- Nobody pays for it but fair queues: the trigger on ready names them, and is not there without any.
-- Proved by tests/sql/test_fairness.py and tests/races/test_fairness.py.

-- BEFORE INSERT on ready, per row, in fair queues: the place of the job. A position that was not drawn just now is kept.
create or replace function pgqueue.take_turn()
returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_sort = off
set enable_bitmapscan = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
    v_step bigint;
    v_begin bigint;
    v_tail bigint;
    v_head bigint;
    v_drawn_since bigint;
begin
    select coalesce(j.tenant_id, ''), (4096 / coalesce(s.weight, 1))::bigint, coalesce(m.first_pos, 0), t.pos
    into new.tenant_id, v_step, v_begin, v_tail
    from (values (1)) as one (n)
    left join lateral (select w.tenant_id from pgqueue.jobs w where w.id = new.job_id limit 1) j on true
    left join lateral (select w.weight from pgqueue.tenant_settings w where w.tenant_id = coalesce(j.tenant_id, '') limit 1) s on true
    left join lateral (
        select w.first_pos from pgqueue.lane_marks w where w.queue = new.queue and w.priority = new.priority order by w.mark desc limit 1
    ) m on true
    left join lateral (
        select w.pos from pgqueue.ready w
        where w.queue = new.queue and w.priority = new.priority and w.tenant_id = coalesce(j.tenant_id, '') and w.pos >= coalesce(m.first_pos, 0)
        order by w.pos desc limit 1
    ) t on true;
    if new.pos % 65536 <> 1 or new.pos <= 0 then
        return new;
    end if;
    if v_tail is null then
        select r.pos into v_head from pgqueue.ready r
        where r.queue = new.queue and r.priority = new.priority and r.pos >= v_begin
        order by r.pos limit 1;
        v_head := coalesce(v_head, greatest(v_begin, pgqueue.settled_pos(new.queue, new.priority)));
        -- Up to one step more by arrival: exact while little was inserted since the head, spread out after that.
        v_drawn_since := greatest(new.pos - v_head, 0) / 65536;
        v_tail := v_head + case when v_drawn_since < 2048 then v_drawn_since else 2048 + v_drawn_since % 2048 end * v_step / 4096;
    end if;
    new.pos := least(v_tail + v_step, new.pos) & ~1::bigint;
    return new;
end
$$;
revoke all on function pgqueue.take_turn() from public;

-- The last position that was drawn before any transaction now in flight began, as far as marks tell. 0 = no mark.
create or replace function pgqueue.settled_pos(p_queue text, p_priority smallint)
returns bigint
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select coalesce(
        (select m.drawn_pos from pgqueue.lane_marks m
         where m.queue = p_queue and m.priority = p_priority and m.xid < pg_snapshot_xmin(pg_current_snapshot())
         order by m.mark desc limit 1),
        (select m.first_pos from pgqueue.lane_marks m
         where m.queue = p_queue and m.priority = p_priority
         order by m.mark limit 1),
        0);
$$;
revoke all on function pgqueue.settled_pos(text, smallint) from public;

-- Mark where the lanes of fair queues stand. Part of maintain(). Writes nothing when nothing was inserted or claimed.
-- The sequence is read before the transaction id is drawn: who drew a position up to then has a lower id.
create or replace function pgqueue.mark_lanes()
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_sort = off
set enable_bitmapscan = off
set jit = off
as $$
declare
    v_drawn bigint := (select s.last_value from pgqueue.position_seq s);
    v_lane record;
    v_first bigint;
begin
    if not exists (select from pgqueue.queues q where q.fair) or not pg_try_advisory_xact_lock(7067007, 1) then
        return;
    end if;
    for v_lane in
        select q.queue, p.priority::smallint as priority, m.first_pos, m.drawn_pos, m.mark
        from pgqueue.queues q
        cross join generate_series(0, 3) as p (priority)
        left join lateral (
            select w.first_pos, w.drawn_pos, w.mark from pgqueue.lane_marks w
            where w.queue = q.queue and w.priority = p.priority::smallint order by w.mark desc limit 1
        ) m on true
        where q.fair
        order by q.queue, p.priority
    loop
        select r.pos into v_first from pgqueue.ready r
        where r.queue = v_lane.queue and r.priority = v_lane.priority and r.pos >= coalesce(v_lane.first_pos, 0)
        order by r.pos limit 1;
        v_first := coalesce(v_first, greatest(v_lane.first_pos, pgqueue.settled_pos(v_lane.queue, v_lane.priority)));
        if (v_first, v_drawn) is distinct from (v_lane.first_pos, v_lane.drawn_pos) then
            insert into pgqueue.lane_marks (queue, priority, first_pos, drawn_pos, xid)
            values (v_lane.queue, v_lane.priority, v_first, v_drawn, pg_current_xact_id());
            delete from pgqueue.lane_marks m
            where m.queue = v_lane.queue and m.priority = v_lane.priority and m.mark < v_lane.mark
                and m.marked_at < clock_timestamp() - interval '10 seconds';
        end if;
    end loop;
end
$$;
revoke all on function pgqueue.mark_lanes() from public;

-- Make the trigger on ready name the fair queues, and give ready the index that it walks. Without fair queues both go: an index
-- that no row enters costs each INSERT of a job 6,700 instructions all the same.
create or replace function pgqueue.fit_turns()
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_queues text[] := array(select q.queue from pgqueue.queues q where q.fair order by q.queue);
begin
    if v_queues = '{}' then
        drop trigger if exists ready_take_turn on pgqueue.ready;
        drop index if exists pgqueue.ready_tenant_idx;
    else
        create index if not exists ready_tenant_idx on pgqueue.ready (queue, priority, tenant_id, pos) where tenant_id is not null;
        execute format('create or replace trigger ready_take_turn before insert on pgqueue.ready for each row'
            ' when (new.queue = any (%L::text[])) execute'
            ' function pgqueue.take_turn()', v_queues);
    end if;
    delete from pgqueue.installed_objects i
    where (i.kind, i.name) in (('trigger', 'pgqueue.ready.ready_take_turn'), ('index', 'pgqueue.ready_tenant_idx'));
    insert into pgqueue.installed_objects (kind, name, fingerprint)
    select c.kind, c.name, c.fingerprint from pgqueue.catalogue() c
    where (c.kind, c.name) in (('trigger', 'pgqueue.ready.ready_take_turn'), ('index', 'pgqueue.ready_tenant_idx'));
end
$$;
revoke all on function pgqueue.fit_turns() from public;

-- Let the tenants of a queue take turns, or (p_fair => false) go by arrival again. What waits is placed anew, about 20 seconds per million
-- jobs, and until the commit every INSERT of a job and every claim waits; turned off, it keeps its places, and what
-- comes later lines up behind. For the schema's owner only, and not inside a transaction that has done anything else.
create or replace function pgqueue.set_fairness(p_queue text, p_fair boolean default true)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set lock_timeout = '3s'
as $$
declare
    v_was boolean := (select q.fair from pgqueue.queues q where q.queue = p_queue);
    v_example constant text := 'For example: select pgqueue.set_fairness(''mail''), or set_fairness(''mail'', false).';
begin
    perform pgqueue.check_given('queue', p_queue, v_example);
    perform pgqueue.check_given('fair', p_fair::text, v_example);
    perform pgqueue.note_unknown('queue', p_queue);
    if coalesce(v_was, false) = p_fair then
        return;
    end if;
    -- Nobody has a row of ready in his hands after this.
    lock table pgqueue.ready in exclusive mode;
    insert into pgqueue.queues as q (queue, fair) values (p_queue, p_fair)
    on conflict (queue) do update set fair = excluded.fair;
    delete from pgqueue.lane_marks m where m.queue = p_queue;
    if p_fair then
        perform pgqueue.place_anew(p_queue);
    end if;
    perform pgqueue.fit_turns();
    perform pgqueue.ring(array[p_queue]);
end
$$;
revoke all on function pgqueue.set_fairness(text, boolean) from public;

-- Place what waits in a queue as if it had been fair from the head on. The caller keeps everybody else out.
create or replace function pgqueue.place_anew(p_queue text)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_drawn bigint := nextval('pgqueue.position_seq');
begin
    insert into pgqueue.lane_marks (queue, priority, first_pos, drawn_pos, xid)
    select p_queue, p.priority,
        coalesce((select min(r.pos) from pgqueue.ready r where r.queue = p_queue and r.priority = p.priority and r.pos > 0), v_drawn),
        v_drawn, pg_current_xact_id()
    from generate_series(0, 3) as p (priority);
    with gone as (
        delete from pgqueue.ready r where r.queue = p_queue and r.pos > 0 returning r.*
    ), placed as (
        select g.*, m.first_pos, (4096 / coalesce(s.weight, 1))::bigint as step, coalesce(j.tenant_id, '') as tenant,
            row_number() over (partition by g.priority, j.tenant_id order by g.pos) as n,
            row_number() over (partition by g.priority order by g.pos) as arrived
        from gone g
        join pgqueue.lane_marks m on m.queue = p_queue and m.priority = g.priority
        left join pgqueue.jobs j on j.id = g.job_id
        left join pgqueue.tenant_settings s on s.tenant_id = coalesce(j.tenant_id, '')
    )
    insert into pgqueue.ready (job_id, pos, ready_at, expires_at, attempts, flags, priority, queue, job_type, tenant_id)
    select p.job_id,
        least(p.first_pos + p.n * p.step + min(least(p.arrived, 4095)) over (partition by p.priority, p.tenant) * p.step / 4096, v_drawn) & ~1::bigint,
        p.ready_at, p.expires_at, p.attempts, p.flags, p.priority, p.queue, p.job_type, p.tenant
    from placed p
    order by p.priority, p.pos;
end
$$;
revoke all on function pgqueue.place_anew(text) from public;

-- How many turns a tenant gets for one of a tenant without a weight: 0.125 to 100. '' = jobs without a tenant. For jobs inserted from now on.
create or replace function pgqueue.set_tenant_weight(p_tenant_id text, p_weight double precision)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if p_tenant_id is null or length(p_tenant_id) > 100 or p_weight is null or p_weight not between 0.125 and 100 then
        raise exception using errcode = 'PQ006', message = format('weight %s of tenant %L: give 0.125 to 100', coalesce(p_weight::text, 'null'), p_tenant_id);
    end if;
    insert into pgqueue.tenant_settings as s (tenant_id, weight) values (p_tenant_id, p_weight)
    on conflict (tenant_id) do update set weight = excluded.weight;
end
$$;
revoke all on function pgqueue.set_tenant_weight(text, double precision) from public;
