-- Retention: finished jobs and workers that are long gone. Parts of maintain().

-- Remove finished jobs older than their type's retention, oldest first, with all that is known of them. Type by type along
-- finished_retention_idx, so that the cost follows the rows removed: first an equal share for each, then what is left of the
-- limit for whoever has more. Jobs rows are locked first, skipping locked ones, and
-- looked at again: a retry may have come in between. Proved by tests/sql/test_maintain.py and tests/races/test_finish.py.
create or replace function pgqueue.retain(p_limit integer default 1000)
returns bigint
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_sort = off
set enable_bitmapscan = off
set jit = off
as $$
declare
    v_default interval := (select s.retention from pgqueue.settings s);
    v_types text[];
    v_type text := '';
    v_before timestamptz;
    v_ids uuid[];
    v_batch bigint;
    v_removed bigint := 0;
begin
    if not pg_try_advisory_xact_lock(7067004, 3) then
        return 0;
    end if;
    loop
        select f.job_type into v_type from pgqueue.finished f where f.job_type > v_type order by f.job_type limit 1;
        exit when not found;
        v_types := v_types || v_type;
    end loop;
    for v_turn in 1..2 * coalesce(cardinality(v_types), 0) loop
        exit when v_removed >= p_limit;
        v_type := v_types[(v_turn - 1) % cardinality(v_types) + 1];
        -- Capped: an interval meant as "for ever" must not leave the range of timestamps and stop all maintenance.
        v_before := clock_timestamp() - least(interval '1000 years',
            coalesce((select t.retention from pgqueue.job_types t where t.job_type = v_type), v_default));
        select array_agg(x.id) into v_ids
        from (
            select j.id
            from pgqueue.finished f
            cross join lateral (select w.id from pgqueue.jobs w where w.id = f.job_id limit 1 for update skip locked) j
            where f.job_type = v_type and f.finished_at < v_before
            order by f.finished_at
            limit case when v_turn <= cardinality(v_types) then least(p_limit::bigint / cardinality(v_types) + 1, p_limit - v_removed)
                else p_limit - v_removed end
        ) x;
        begin
            delete from pgqueue.jobs j
            where j.id = any (v_ids) and exists (select from pgqueue.finished f where f.job_id = j.id);
            get diagnostics v_batch = row_count;
            v_removed := v_removed + v_batch;
        exception when foreign_key_violation then
            raise warning 'pgqueue: jobs of type % are kept beyond their retention: %', v_type, sqlerrm
                using hint = 'Declare that foreign key ON DELETE CASCADE or SET NULL.';
        end;
    end loop;
    return v_removed;
end
$$;
revoke all on function pgqueue.retain(integer) from public;

-- Forget workers that stopped or died more than a day ago and run nothing.
create or replace function pgqueue.forget_workers()
returns bigint
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_forgotten bigint;
begin
    delete from pgqueue.workers w
    where coalesce(w.dead_at, w.stopped_at) < clock_timestamp() - interval '1 day' and w.rescued_at is not null;
    get diagnostics v_forgotten = row_count;
    return v_forgotten;
end
$$;
revoke all on function pgqueue.forget_workers() from public;
