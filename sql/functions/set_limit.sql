-- Making, dropping and tending limits. The protocol is told in limits.sql.

-- Limit what is named. The whole limit is given each time: NULL = no such limit. kind 'job_type' or 'queue': all jobs of it together. 'tenant': a tenant, or
-- '*' each tenant alone that has no row of its own. 'key': each concurrency_key alone, among the jobs of a type, or '*' of all types.
-- p_rate_burst: so many may start at once after a quiet time; NULL = 1 and what comes in 0.2 s. Jobs that run already count; those
-- of a claim that is in flight at this moment, and those that somebody holds (an open INSERT with depends_on), are counted by maintain().
create or replace function pgqueue.set_limit(
    p_kind text,
    p_name text,
    p_max_running integer default null,
    p_rate_jobs integer default null,
    p_rate_interval interval default null,
    p_rate_burst integer default null,
    p_description text default null
)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform pgqueue.store_limit(p_kind, p_name, p_max_running, p_rate_jobs, p_rate_interval, p_rate_burst, p_description, true);
    perform pgqueue.note_unknown(case p_kind when 'key' then 'job_type' else p_kind end, p_name) where p_kind <> 'tenant' and p_name <> '*';
end
$$;
revoke all on function pgqueue.set_limit(text, text, integer, integer, interval, integer, text) from public;

-- What worker applications declare: a JSON array of objects with kind, name and, where declared, max_running, rate_jobs, rate_seconds,
-- rate_burst. Limits that an operator has set stay as they are.
create or replace function pgqueue.register_limits(p_limits jsonb)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform pgqueue.store_limit(d.kind, d.name, d.max_running, d.rate_jobs, pgqueue.seconds(d.rate_seconds), d.rate_burst, null, false)
    from (
        select * from jsonb_to_recordset(p_limits) as r (kind text, name text, max_running integer, rate_jobs integer,
            rate_seconds double precision, rate_burst integer)
        order by r.kind, r.name
    ) d;
end
$$;
revoke all on function pgqueue.register_limits(jsonb) from public;

-- What set_limit() and register_limits() share: make the limit or replace it, unless it says that already, or an operator's stands against
-- a worker's (p_by_operator false). Jobs that run take their places under it; what is parked is looked at again. Locks settings, then
-- running rows, skipping locked ones. Raises 23514.
create or replace function pgqueue.store_limit(
    p_kind text,
    p_name text,
    p_max_running integer,
    p_rate_jobs integer,
    p_rate_interval interval,
    p_rate_burst integer,
    p_description text,
    p_by_operator boolean
)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_id bigint;
    v_is_new boolean;
    -- What divides (here and for rate_step) is looked at before the row's own CHECKs would.
    v_broken text := case when p_rate_jobs not between 1 and 1000000 then 'limits_rate_jobs_check'
        when p_rate_interval not between interval '1 millisecond' and interval '30 days' then 'limits_rate_interval_check' end;
    v_burst integer;
    v_example constant text := 'For example: select pgqueue.set_limit(''queue'', ''mail'', p_max_running => 5), or p_rate_jobs => 100, p_rate_interval => ''1 minute''.';
begin
    perform pgqueue.check_given('kind', p_kind, v_example);
    perform pgqueue.check_given('name', p_name, v_example);
    if v_broken is null then
        begin
            v_burst := case when p_rate_jobs is not null then coalesce(p_rate_burst,
                least(1000000, 1 + floor(p_rate_jobs * 0.2 / extract(epoch from p_rate_interval)))::integer) end;
            insert into pgqueue.limits as l (kind, name, max_running, rate_jobs, rate_interval, rate_burst, description, operator_managed)
            values (p_kind, p_name, p_max_running, p_rate_jobs, p_rate_interval, v_burst, p_description, p_by_operator)
            on conflict (kind, name) do update set
                max_running = excluded.max_running, rate_jobs = excluded.rate_jobs, rate_interval = excluded.rate_interval,
                rate_burst = excluded.rate_burst, description = coalesce(excluded.description, l.description),
                operator_managed = excluded.operator_managed, updated_at = clock_timestamp()
            where (p_by_operator or not l.operator_managed)
                and (l.max_running, l.rate_jobs, l.rate_interval, l.rate_burst, l.operator_managed, l.description)
                    is distinct from (excluded.max_running, excluded.rate_jobs, excluded.rate_interval, excluded.rate_burst,
                        excluded.operator_managed, coalesce(excluded.description, l.description))
            -- The version that an update leaves carries the lock that ON CONFLICT took; a new row has none.
            returning l.id, l.xmax = 0 into v_id, v_is_new;
        exception when check_violation then
            get stacked diagnostics v_broken = constraint_name;
        end;
    end if;
    if v_broken is not null then
        perform pgqueue.refuse_check('pgqueue', 'limits', v_broken, jsonb_build_object('kind', p_kind, 'name', p_name, 'max_running', p_max_running,
                'rate_jobs', p_rate_jobs, 'rate_interval', p_rate_interval, 'rate_burst', p_rate_burst),
            v_example);
    end if;
    if v_id is null then
        return;
    end if;
    perform pgqueue.note_limit(p_kind, p_name);
    if p_max_running is not null then
        perform pgqueue.adopt_running(v_id);
    end if;
    if not v_is_new then
        perform pgqueue.change_limit(v_id);
    end if;
    -- What '*' holds back of this tenant passes another gate from now on: nobody who ends there would open the old one.
    insert into pgqueue.openings (gate)
    select l.id || ':' || quote_ident(p_name)
    from pgqueue.limits l
    where p_kind = 'tenant' and p_name <> '*' and l.kind = 'tenant' and l.name = '*';
end
$$;
revoke all on function pgqueue.store_limit(text, text, integer, integer, interval, integer, text, boolean) from public;

-- From now on claims look at limits, and closer at jobs of this type or queue. Appends only: beside another call, or tend_limits(), which
-- forgets names, it sees what that one has written once it has the row. A tenant's limit, and very many, may be about any job.
create or replace function pgqueue.note_limit(p_kind text, p_name text)
returns void
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
    update pgqueue.settings s
    set limited = true,
        limited_names = case
            when x.name = any (s.limited_names) then s.limited_names
            when cardinality(s.limited_names) >= 50 then '{*}'
            else s.limited_names || x.name
        end
    from (select case when p_kind = 'tenant' then '*' else p_name end as name) x;
$$;
revoke all on function pgqueue.note_limit(text, text) from public;

-- Jobs that run already, since before p_before, take their places under a new limit. Skips what is locked: waiting for an open transaction, it
-- would hold up the completions of all the others.
create or replace function pgqueue.adopt_running(p_limit_id bigint, p_before timestamptz default 'infinity')
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_ids uuid[];
begin
    v_ids := array(
        select r.job_id from pgqueue.running r
        where r.started_at < p_before and exists (
            select from pgqueue.jobs j
            cross join lateral pgqueue.gates_of(r.job_type, r.queue, j.tenant_id, j.concurrency_key, null) g
            where j.id = r.job_id and split_part(g, ':', 1)::bigint = p_limit_id
                and not exists (select from pgqueue.slots s where s.job_id = r.job_id and s.gate = g))
        order by r.job_id
        for update skip locked);
    update pgqueue.running r set flags = r.flags | 32 where r.job_id = any (v_ids);
    insert into pgqueue.slots (job_id, token, gate)
    select r.job_id, r.token, g
    from pgqueue.running r
    join pgqueue.jobs j on j.id = r.job_id
    cross join lateral pgqueue.gates_of(r.job_type, r.queue, j.tenant_id, j.concurrency_key, null) g
    where r.job_id = any (v_ids) and split_part(g, ':', 1)::bigint = p_limit_id
    on conflict do nothing;
end
$$;
revoke all on function pgqueue.adopt_running(bigint, timestamptz) from public;

-- Whatever is parked under this limit is looked at again.
create or replace function pgqueue.open_limit(p_limit_id bigint)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    insert into pgqueue.openings (gate)
    select distinct b.gate
    from pgqueue.blocked b
    where b.gate = p_limit_id::text or starts_with(b.gate, p_limit_id || ':');
    if found then
        perform pgqueue.ring_all();
    end if;
end
$$;
revoke all on function pgqueue.open_limit(bigint) from public;

-- This limit has been changed or dropped: whatever is parked under it is looked at again, now and once more when claims in flight have ended:
-- a second after somebody has seen this opening (open_gates()).
create or replace function pgqueue.change_limit(p_limit_id bigint)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform pgqueue.open_limit(p_limit_id);
    insert into pgqueue.openings (gate) values ('-' || p_limit_id);
end
$$;
revoke all on function pgqueue.change_limit(bigint) from public;

-- Drop a limit; what it held back may run. False = there was none.
create or replace function pgqueue.drop_limit(p_kind text, p_name text)
returns boolean
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_id bigint;
begin
    delete from pgqueue.limits l where l.kind = p_kind and l.name = p_name returning l.id into v_id;
    if v_id is not null then
        perform pgqueue.change_limit(v_id);
    end if;
    return v_id is not null;
end
$$;
revoke all on function pgqueue.drop_limit(text, text) from public;

-- Part of tend_limits(): names that no limit is about any more. A limit that is being made is not seen here; note_limit() waits for this row, and
-- adds its name after that.
create or replace function pgqueue.forget_names()
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if exists (
        select from pgqueue.settings s cross join unnest(s.limited_names) as u (name)
        where not exists (select from pgqueue.limits l where u.name = case when l.kind = 'tenant' then '*' else l.name end)
            and (u.name <> '*' or (select count(*) from pgqueue.limits) <= 50))
    then
        perform from pgqueue.settings s for update skip locked;
        if found then
            -- A new statement: it sees every limit whose name was noted before the lock.
            update pgqueue.settings s set limited_names = x.names
            from (
                select case when count(distinct d.name) > 50 then '{*}' else coalesce(array_agg(distinct d.name), '{}') end as names
                from (select case when l.kind = 'tenant' then '*' else l.name end as name from pgqueue.limits l) d
            ) x;
        end if;
    end if;
end
$$;
revoke all on function pgqueue.forget_names() from public;

-- Part of maintain(): give places to jobs that ran when their limit was set; forget full buckets; find what a producer could not say (start_limiting()) or a clock that was set back hides; stop
-- looking at limits when there is none any more. Ordering keys keep it on once they have been used: an INSERT that has not committed cannot be
-- seen, and found it on. Its job would wait for the next maintain() to turn it on again, or, while another INSERT that just did so keeps
-- the row of settings locked in a long transaction, for the end of that. What the looking costs a claim is less than that.
create or replace function pgqueue.tend_limits(p_limit integer default 1000)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_now timestamptz := clock_timestamp();
    v_limited boolean := (select s.limited from pgqueue.settings s);
begin
    if not v_limited then
        -- A claim in flight when the last limit went may have parked jobs that nobody saw.
        if exists (select from pgqueue.ordered_jobs) or exists (select from pgqueue.limits)
            or exists (select from pgqueue.openings o where not starts_with(o.gate, '-'))
            or exists (select from pgqueue.blocked b where b.gate is not null)
        then
            perform pgqueue.start_limiting();
        end if;
        return;
    end if;
    -- What set_limit() passed over. Only near its time: later claims have seen the limit.
    perform pgqueue.adopt_running(l.id, l.updated_at + interval '1 minute')
    from pgqueue.limits l
    where l.max_running is not null and l.updated_at > v_now - interval '1 hour'
    order by l.id;
    -- Full a minute ago: as good as no row. The minute is for clocks that are set back a little.
    delete from pgqueue.gate_buckets b
    where b.ctid = any (array(
        select x.ctid from pgqueue.gate_buckets x where x.full_at < v_now - interval '1 minute'
        order by x.full_at limit p_limit for update skip locked));
    -- Not v_now: a claim since then has filled its bucket from a later time, and would be given tokens back.
    update pgqueue.gate_buckets b set full_at = x.full_at
    from (
        select y.ctid as tid, clock_timestamp() + l.rate_burst * l.rate_step as full_at
        from (select z.ctid, z.gate, z.full_at from pgqueue.gate_buckets z order by z.full_at desc limit p_limit for update skip locked) y
        join pgqueue.limits l on l.id = split_part(y.gate, ':', 1)::bigint
        where y.full_at > clock_timestamp() + l.rate_burst * l.rate_step
    ) x
    where b.ctid = x.tid;
    with hidden as (
        delete from pgqueue.openings o
        where o.ctid = any (array(
            select x.tid from (
                select y.ctid as tid, y.made_at from pgqueue.openings y order by y.opens_at desc limit p_limit for update skip locked
            ) x where x.made_at > v_now))
        returning o.gate
    )
    insert into pgqueue.openings (gate, opens_at, made_at) select distinct h.gate, v_now, v_now from hidden h;
    if not exists (select from pgqueue.limits) and pg_sequence_last_value('pgqueue.ordered_jobs_seq_seq') is null then
        perform from pgqueue.settings s for update skip locked;
        if found and not exists (select from pgqueue.limits) and not exists (select from pgqueue.openings o where not starts_with(o.gate, '-'))
            and not exists (select from pgqueue.slots) and not exists (select from pgqueue.blocked b where b.gate is not null)
            and not exists (select from pgqueue.ready r where r.pos < 0)
        then
            update pgqueue.settings s set limited = false, limited_names = '{}';
        end if;
    end if;
    perform pgqueue.forget_names();
end
$$;
revoke all on function pgqueue.tend_limits(integer) from public;
