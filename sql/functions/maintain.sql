-- Maintenance: schedules, promotion of due jobs, rescue, expiry, retention, statistics. No leader: every worker calls
-- maintain() now and then, psql or a cron may; each part lets one caller in at a time and moves a bounded number of rows.
-- The parts: ticks.sql, promote.sql, aging.sql, rescue.sql, retain.sql, stats.sql; the others with what they tend.

-- All parts of the maintenance, each bounded by p_limit. next_due_at: when to come back for promotion, a tick or a signal's timeout. Workers call it about once a second.
-- A part that fails (an application's own trigger or foreign key, a deadlock) warns and leaves the others to do their work.
-- Proved by tests/sql/test_attack_maintain.py.
create or replace function pgqueue.maintain(p_limit integer default 1000, p_floor timestamptz default null)
returns table (
    promoted bigint,
    next_floor timestamptz,
    next_due_at timestamptz,
    rescued bigint,
    expired bigint,
    removed bigint,
    merged bigint,
    enqueued bigint
)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_part text;
    v_next_tick_at timestamptz;
    v_next_look_at timestamptz;
begin
    perform pgqueue.check_isolation();
    promoted := 0; rescued := 0; expired := 0; removed := 0; merged := 0; enqueued := 0;
    foreach v_part in array array['mark_lanes', 'count_tenants', 'run_schedules', 'promote_due', 'age_waiting', 'rescue', 'expire', 'retain', 'merge_stats', 'forget_workers', 'forget_failures', 'forget_schedule_runs', 'tend_limits',
        'look_at_signals', 'forget_batches', 'merge_batches', 'run_hooks', 'open_gates']
    loop
        begin
            case v_part
                when 'run_schedules' then
                    select r.enqueued, r.next_tick_at into enqueued, v_next_tick_at from pgqueue.run_schedules(p_limit) r;
                when 'promote_due' then
                    select p.moved, p.next_floor, p.next_due_at into promoted, next_floor, next_due_at
                    from pgqueue.promote_due(p_limit, p_floor) p;
                when 'age_waiting' then perform pgqueue.age_waiting(p_limit);
                when 'rescue' then rescued := pgqueue.rescue(p_limit);
                when 'expire' then expired := pgqueue.expire(p_limit);
                when 'retain' then removed := pgqueue.retain(p_limit);
                when 'merge_stats' then merged := pgqueue.merge_stats();
                when 'tend_limits' then perform pgqueue.tend_limits(p_limit);
                when 'forget_workers' then perform pgqueue.forget_workers();
                when 'forget_failures' then perform pgqueue.forget_failures();
                when 'mark_lanes' then perform pgqueue.mark_lanes();
                when 'count_tenants' then perform pgqueue.count_tenants();
                when 'forget_schedule_runs' then perform pgqueue.forget_schedule_runs(p_limit);
                when 'look_at_signals' then select l.next_look_at into v_next_look_at from pgqueue.look_at_signals(p_limit) l;
                when 'forget_batches' then perform pgqueue.forget_batches(p_limit);
                -- Late: it holds the batches' locks until the commit.
                when 'merge_batches' then perform pgqueue.merge_batches(p_limit);
                -- Last: what hooks lock is held until the end.
                when 'run_hooks' then perform pgqueue.run_hooks(p_limit);
                -- Last of all: claims leave the jobs of gates that are held.
                when 'open_gates' then perform pgqueue.open_gates(p_limit) from pgqueue.settings s where s.limited;
            end case;
        exception when others then
            raise warning 'pgqueue.%() failed: % (SQLSTATE %)', v_part, sqlerrm, sqlstate;
        end;
    end loop;
    next_due_at := least(next_due_at, v_next_tick_at, v_next_look_at, pgqueue.next_opening());
    return next;
end
$$;
revoke all on function pgqueue.maintain(integer, timestamptz) from public;
