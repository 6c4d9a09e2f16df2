-- Quotas: how many jobs a tenant may have waiting, how many bytes of payload in them, and how many in one. PQ008 refuses the rest.
--
-- No counter row, on which all producers of a tenant would wait for each other. Each unfinished job of a tenant with a quota has a row in
-- tenant_jobs; maintenance counts those about once a second and appends what it found to tenant_counts. An INSERT adds to the
-- last count what came since, by index; only when that exceeds the quota does it count all that wait, bounded by the quota. So a
-- refusal is never based on an old count.
-- What can be exceeded, and by how much: jobs in other transactions that are not committed yet, or were committed
-- out of order since the last count, are not seen. Each INSERT by itself is exact.
-- Waiting is queued, scheduled, retrying and blocked. Running jobs count again when they come back; those that an
-- operator brings back after they had finished do not. Callbacks, which pgqueue enqueues itself, are never refused.
-- Sizes are those of jsonb before compression. A database without quotas pays nothing: the triggers are disabled.
-- Proved by tests/sql/test_quotas.py and tests/races/test_quotas.py.

-- AFTER INSERT on jobs, per statement, while any tenant has a quota (jobs_tenant_quota_all: while jobs without a tenant have one); by its name after the one that routes.
create or replace function pgqueue.enforce_quotas()
returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenants text[];
    v_tenant text;
    v_jobs bigint;
    v_largest bigint;
begin
    -- jobs_tenant_quota, without an argument: jobs without a tenant have no quota. Most INSERTs end here: 26,600 instructions instead of 96,200, of
    -- which an empty trigger takes 11,100. In a statement of its own, for what the next one holds is set up whether it is used or not.
    if tg_nargs = 0 and not exists (select from inserted i where i.tenant_id is not null) then
        return null;
    end if;
    -- Each tenant is looked up once, not each job: an INSERT of 100 jobs of others took 12 % more buffers.
    v_tenants := array(
        select d.tenant_id
        from (select distinct coalesce(i.tenant_id, '') as tenant_id from inserted i where i.callback_of is null) d
        where exists (
            select from pgqueue.tenant_settings s
            where s.tenant_id = d.tenant_id
                and (s.waiting_max is not null or s.waiting_bytes_max is not null or s.payload_bytes_max is not null))
        order by d.tenant_id);
    if v_tenants = '{}' then
        return null;
    end if;
    insert into pgqueue.tenant_jobs (tenant_id, job_id, payload_bytes)
    select coalesce(i.tenant_id, ''), i.id, pg_column_size(i.payload || '{}')
    from inserted i where coalesce(i.tenant_id, '') = any (v_tenants) and i.callback_of is null;
    foreach v_tenant in array v_tenants loop
        select count(*), max(pg_column_size(i.payload || '{}')) into v_jobs, v_largest
        from inserted i where coalesce(i.tenant_id, '') = v_tenant and i.callback_of is null;
        perform pgqueue.check_quota(v_tenant, v_jobs, v_largest);
    end loop;
    return null;
end
$$;
revoke all on function pgqueue.enforce_quotas() from public;

-- A waiting job gets another payload, by UPDATE or on_duplicate: it counts from now on.
create or replace function pgqueue.enforce_quotas_updated()
returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_size bigint := pg_column_size(new.payload || '{}');
begin
    update pgqueue.tenant_jobs w set payload_bytes = v_size where w.job_id = new.id;
    if found and v_size > pg_column_size(old.payload || '{}') then
        perform pgqueue.check_quota(coalesce(new.tenant_id, ''), 0, v_size);
    end if;
    return null;
end
$$;
revoke all on function pgqueue.enforce_quotas_updated() from public;

-- Raises PQ008 when this tenant has more than its quotas allow. p_jobs have come with this statement, the largest payload among
-- them is p_largest; they are in tenant_jobs. The message names this tenant and its own numbers only.
create or replace function pgqueue.check_quota(p_tenant_id text, p_jobs bigint, p_largest bigint)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_sort = off
set enable_bitmapscan = off
set jit = off
as $$
declare
    v_quota pgqueue.tenant_settings;
    v_last pgqueue.tenant_counts;
    v_waiting bigint;
    v_bytes bigint;
    v_problem text;
begin
    select * into v_quota from pgqueue.tenant_settings s where s.tenant_id = p_tenant_id;
    if p_largest > v_quota.payload_bytes_max then
        v_problem := format('a payload of %s bytes; payload_bytes_max is %s', p_largest, v_quota.payload_bytes_max);
    elsif v_quota.waiting_max is not null or v_quota.waiting_bytes_max is not null then
        select * into v_last from pgqueue.tenant_counts c where c.tenant_id = p_tenant_id order by c.id desc limit 1;
        select count(*), coalesce(sum(x.payload_bytes), 0) into v_waiting, v_bytes
        from (
            select w.payload_bytes from pgqueue.tenant_jobs w
            where w.tenant_id = p_tenant_id and w.id > coalesce(v_last.last_id, 0)
            order by w.id limit v_quota.waiting_max + 1
        ) x;
        -- An UPDATE changes what was counted.
        if p_jobs > 0 and coalesce(v_last.waiting, 0) + v_waiting <= coalesce(v_quota.waiting_max, v_last.waiting + v_waiting, v_waiting)
            and coalesce(v_last.waiting_bytes, 0) + v_bytes <= coalesce(v_quota.waiting_bytes_max, v_last.waiting_bytes + v_bytes, v_bytes)
        then
            return;
        end if;
        select count(*), coalesce(sum(x.payload_bytes), 0) into v_waiting, v_bytes
        from (
            select w.payload_bytes from pgqueue.tenant_jobs w
            cross join lateral (
                select from pgqueue.ready r where r.job_id = w.job_id
                union all select from pgqueue.scheduled s where s.job_id = w.job_id
                union all select from pgqueue.blocked b where b.job_id = w.job_id
                limit 1
            ) p
            where w.tenant_id = p_tenant_id and w.id >= coalesce(v_last.first_id, 0)
            order by w.id limit v_quota.waiting_max + p_jobs + 1
        ) x;
        v_problem := case
            when v_waiting > v_quota.waiting_max then
                format('%s jobs waiting and %s more; waiting_max is %s', v_waiting - p_jobs, p_jobs, v_quota.waiting_max)
            when v_bytes > v_quota.waiting_bytes_max then
                format('%s bytes of payload waiting, with these; waiting_bytes_max is %s', v_bytes, v_quota.waiting_bytes_max)
        end;
    end if;
    if v_problem is not null then
        raise exception using errcode = 'PQ008',
            message = format('the quota of tenant %L is exceeded: %s', p_tenant_id, v_problem),
            hint = 'Insert fewer or smaller jobs, or later, when some have run; pgqueue.tenant_stats shows how many wait.';
    end if;
end
$$;
revoke all on function pgqueue.check_quota(text, bigint, bigint) from public;

-- Count what tenants with a quota have waiting, and forget their finished jobs. Part of maintain(). Goes round the tenants that have
-- jobs, one after the other, and stops after 20 ms; a tenant that took longer is counted again when 50 times that have passed: a call
-- a second so takes 2 % of the time. A count that is old makes an INSERT count more often before it is refused, nothing else.
create or replace function pgqueue.count_tenants()
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
    v_until timestamptz := clock_timestamp() + interval '20 milliseconds';
    v_tenant text := (select c.tenant_id from pgqueue.tenant_counts c order by c.id desc limit 1);
    v_seen text[] := array[]::text[];
    v_last pgqueue.tenant_counts;
    v_began timestamptz;
begin
    if not exists (select from pgqueue.tenant_jobs) or not pg_try_advisory_xact_lock(7067007, 2) then
        return;
    end if;
    loop
        v_tenant := coalesce(
            (select w.tenant_id from pgqueue.tenant_jobs w where w.tenant_id > v_tenant order by w.tenant_id limit 1),
            (select w.tenant_id from pgqueue.tenant_jobs w order by w.tenant_id limit 1));
        exit when v_tenant is null or v_tenant = any (v_seen) or clock_timestamp() >= v_until;
        v_seen := v_seen || v_tenant;
        select * into v_last from pgqueue.tenant_counts c where c.tenant_id = v_tenant order by c.id desc limit 1;
        continue when v_last.cost > interval '2 milliseconds' and clock_timestamp() < v_last.counted_at + 50 * v_last.cost;
        v_began := clock_timestamp();
        -- Below the last count's last_id nothing comes any more once all transactions of that time have ended.
        with seen as materialized (
            select w.id, w.payload_bytes, x.waits
            from pgqueue.tenant_jobs w
            left join lateral (
                select true as waits from pgqueue.ready r where r.job_id = w.job_id
                union all select true from pgqueue.scheduled s where s.job_id = w.job_id
                union all select true from pgqueue.blocked b where b.job_id = w.job_id
                union all select false from pgqueue.running u where u.job_id = w.job_id
                limit 1
            ) x on true
            where w.tenant_id = v_tenant and w.id >= coalesce(v_last.first_id, 0)
        ), gone as (
            delete from pgqueue.tenant_jobs w
            where w.tenant_id = v_tenant and w.id = any (array(select s.id from seen s where s.waits is null))
        )
        insert into pgqueue.tenant_counts (tenant_id, waiting, waiting_bytes, first_id, last_id, xid, cost)
        select v_tenant, count(*) filter (where s.waits), coalesce(sum(s.payload_bytes) filter (where s.waits), 0),
            case when v_last.xid < pg_snapshot_xmin(pg_current_snapshot())
                then least(min(s.id) filter (where s.waits is not null), v_last.last_id + 1)
                else coalesce(v_last.first_id, 0)
            end,
            greatest(max(s.id), v_last.last_id, 0), pg_current_xact_id(), clock_timestamp() - v_began
        from seen s;
        delete from pgqueue.tenant_counts c
        where c.tenant_id = v_tenant
            and c.id < (select w.id from pgqueue.tenant_counts w where w.tenant_id = v_tenant order by w.id desc limit 1);
    end loop;
end
$$;
revoke all on function pgqueue.count_tenants() from public;

-- What a tenant may have: jobs waiting, bytes of payload in those, bytes of payload in one. NULL = as many as it likes; '' = jobs without a
-- tenant. What waits already counts. The first quota of a database, and that of '', waits up to three seconds for open transactions that have
-- inserted jobs (55P03: try again); so does the removal of the last, and of that, and each for another call that has not committed.
create or replace function pgqueue.set_tenant_quota(
    p_tenant_id text,
    p_waiting_max bigint default null,
    p_waiting_bytes_max bigint default null,
    p_payload_bytes_max bigint default null
)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '3s'
as $$
declare
    v_has boolean := coalesce(p_waiting_max, p_waiting_bytes_max, p_payload_bytes_max) is not null;
begin
    perform pgqueue.check_given('tenant_id', p_tenant_id, 'select pgqueue.set_tenant_quota(''acme'', 1000); '''' means jobs without a tenant.');
    if length(p_tenant_id) > 100 or p_waiting_max not between 0 and 10000000
        or p_waiting_bytes_max < 0 or p_payload_bytes_max < 0
    then
        raise exception using errcode = 'PQ006', message = format('a quota of tenant %L makes no sense', p_tenant_id),
            hint = 'A tenant has at most 100 characters, and up to 10,000,000 waiting jobs; no quota is negative.';
    end if;
    -- Two calls at once: which triggers are wanted depends on all quotas, and neither sees the other's. One was enforced twice, or not at all.
    perform pg_advisory_xact_lock(7067007, 3);
    insert into pgqueue.tenant_settings as s (tenant_id, waiting_max, waiting_bytes_max, payload_bytes_max)
    values (p_tenant_id, p_waiting_max, p_waiting_bytes_max, p_payload_bytes_max)
    on conflict (tenant_id) do update set waiting_max = excluded.waiting_max, waiting_bytes_max = excluded.waiting_bytes_max,
        payload_bytes_max = excluded.payload_bytes_max;
    perform pgqueue.fit_quotas();
    delete from pgqueue.tenant_counts c where c.tenant_id = p_tenant_id;
    if not v_has then
        delete from pgqueue.tenant_jobs w where w.tenant_id = p_tenant_id;
    elsif not exists (select from pgqueue.tenant_jobs w where w.tenant_id = p_tenant_id) then
        insert into pgqueue.tenant_jobs (tenant_id, job_id, payload_bytes)
        select p_tenant_id, j.id, pg_column_size(j.payload || '{}')
        from (
            select r.job_id from pgqueue.ready r
            union all select s.job_id from pgqueue.scheduled s
            union all select b.job_id from pgqueue.blocked b
            union all select r.job_id from pgqueue.running r
        ) u
        join pgqueue.jobs j on j.id = u.job_id
        where coalesce(j.tenant_id, '') = p_tenant_id and j.callback_of is null;
    end if;
end
$$;
revoke all on function pgqueue.set_tenant_quota(text, bigint, bigint, bigint) from public;

create or replace trigger jobs_tenant_quota
    after insert on pgqueue.jobs
    referencing new table as inserted
    for each statement execute function pgqueue.enforce_quotas();
create or replace trigger jobs_tenant_quota_all
    after insert on pgqueue.jobs
    referencing new table as inserted
    for each statement execute function pgqueue.enforce_quotas('all');
create or replace trigger jobs_tenant_quota_updated
    after update of payload on pgqueue.jobs
    for each row when (new.payload is distinct from old.payload) execute function pgqueue.enforce_quotas_updated();

-- The triggers are enabled while any tenant has a quota, one of the first two: the other way while jobs without a tenant have one. Nothing is
-- locked when they are right already.
create or replace function pgqueue.fit_quotas()
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_trigger record;
begin
    for v_trigger in
        select t.tgname, x.wanted
        from (
            select coalesce(bool_or(s.tenant_id = ''), false) as nobody, count(*) > 0 as anybody
            from pgqueue.tenant_settings s
            where s.waiting_max is not null or s.waiting_bytes_max is not null or s.payload_bytes_max is not null
        ) q
        cross join lateral (
            values ('jobs_tenant_quota', q.anybody and not q.nobody), ('jobs_tenant_quota_all', q.nobody), ('jobs_tenant_quota_updated', q.anybody)
        ) as x (name, wanted)
        join pg_trigger t on t.tgrelid = 'pgqueue.jobs'::regclass and t.tgname = x.name
        where x.wanted <> (t.tgenabled <> 'D')
    loop
        if v_trigger.wanted then
            execute format('alter table pgqueue.jobs enable trigger %I', v_trigger.tgname);
        else
            execute format('alter table pgqueue.jobs disable trigger %I', v_trigger.tgname);
        end if;
    end loop;
    if not found then
        return;
    end if;
    update pgqueue.installed_objects i set fingerprint = c.fingerprint
    from pgqueue.catalogue() c
    where i.kind = c.kind and i.name = c.name and c.kind = 'trigger' and c.name like 'pgqueue.jobs.jobs_tenant_quota%';
end
$$;
revoke all on function pgqueue.fit_quotas() from public;
