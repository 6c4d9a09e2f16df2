-- When an expression ticks in a time zone. The syntax, and what happens when clocks change, is told in cron.sql.

-- Raises PQ006 unless PostgreSQL knows the zone by its IANA name. Not an abbreviation or an offset such as +02, whose sign
-- POSIX reads the other way round.
create or replace function pgqueue.check_time_zone(p_time_zone text)
returns void
language plpgsql
stable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
    -- No digits but in Etc/GMT+5: what is not a file's name is read as POSIX has it, and Europe/Berlin+2 is two hours behind UTC.
    -- pg_timezone_names reads hundreds of files (10 ms): only the shape is checked here, the rest by using it.
    if p_time_zone is null or p_time_zone !~ '^(UTC|GMT|Etc/GMT(0|[+-][0-9]|[+]1[0-2]|-1[0-4])|[A-Za-z_]+(/[A-Za-z_-]+){1,2})$' then
        raise exception using errcode = 'PQ006', message = format('cron: %L is not the name of a time zone', p_time_zone),
            hint = 'Use a name such as Europe/Berlin, America/New_York or UTC; select name from pg_timezone_names lists them.';
    end if;
    perform timezone(p_time_zone, timestamptz '2000-01-01 00:00:00+00');
exception when invalid_parameter_value then
    raise exception using errcode = 'PQ006', message = format('cron: the time zone %L is not known to this server', p_time_zone),
        hint = 'select name from pg_timezone_names lists those that are.';
end
$$;
revoke all on function pgqueue.check_time_zone(text) from public;

-- How far local time is ahead of UTC.
create or replace function pgqueue.utc_offset(p_time_zone text, p_at timestamptz)
returns interval
language sql
stable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
    select (p_at at time zone p_time_zone) - (p_at at time zone 'UTC');
$$;
revoke all on function pgqueue.utc_offset(text, timestamptz) from public;

-- When the clock of a zone changes within (p_low, p_high], whole seconds, by bisection; NULL = the offset is the same at both ends.
create or replace function pgqueue.clock_change(p_time_zone text, p_low timestamptz, p_high timestamptz)
returns timestamptz
language plpgsql
stable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
    v_offset interval := pgqueue.utc_offset(p_time_zone, p_low);
    v_middle timestamptz;
begin
    if pgqueue.utc_offset(p_time_zone, p_high) = v_offset then
        return null;
    end if;
    while p_high - p_low > interval '1 second' loop
        v_middle := p_low + make_interval(secs => floor(extract(epoch from p_high - p_low) / 2)::integer);
        if pgqueue.utc_offset(p_time_zone, v_middle) = v_offset then
            p_low := v_middle;
        else
            p_high := v_middle;
        end if;
    end loop;
    return p_high;
end
$$;
revoke all on function pgqueue.clock_change(text, timestamptz, timestamptz) from public;

-- The next tick after p_after, NULL = never again. Raises PQ006 for an expression or a time zone that makes no sense.
--
-- A zone is a row of stretches with one offset each. Within a stretch the next tick is the next matching local time. It is
-- looked for in steps of at most 14 days, shorter than any two clock changes of a zone are apart, so that comparing
-- the offset at both ends of a step is enough to see a change.
create or replace function pgqueue.next_tick(p_cron text, p_time_zone text default 'UTC', p_after timestamptz default clock_timestamp())
returns timestamptz
language plpgsql
stable
parallel safe
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_cron record := pgqueue.cron_parse(p_cron);
    v_low timestamptz;       -- no tick after p_after and at or before this
    v_offset interval;       -- in force there
    v_wall timestamp;        -- the next matching local time, as long as that offset holds
    v_high timestamptz;
    v_change timestamptz;
    v_new_offset interval;
begin
    perform pgqueue.check_time_zone(p_time_zone);
    if p_after is null or p_after not between timestamptz '1970-01-02 00:00:00+00' and timestamptz '9000-01-01 00:00:00+00' then
        raise exception using errcode = 'PQ006', message = format('cron: %s is not between the years 1970 and 9000', coalesce(p_after::text, 'null'));
    end if;
    v_low := date_trunc('second', p_after at time zone 'UTC') at time zone 'UTC';
    v_offset := pgqueue.utc_offset(p_time_zone, v_low);
    v_wall := (v_low at time zone 'UTC') + v_offset + interval '1 second';
    if not v_cron.elapsed and pgqueue.utc_offset(p_time_zone, v_low - interval '3 hours') > v_offset then
        -- Perhaps in the second pass of a repeated hour: its times have ticked in the first.
        v_change := pgqueue.clock_change(p_time_zone, v_low - interval '3 hours', v_low);
        v_wall := greatest(v_wall, v_change at time zone 'UTC' + pgqueue.utc_offset(p_time_zone, v_low - interval '3 hours'));
    end if;
    v_wall := pgqueue.cron_wall(v_cron, v_wall, null);
    while v_wall is not null loop
        v_high := least((v_wall - v_offset) at time zone 'UTC', v_low + interval '14 days');
        v_change := pgqueue.clock_change(p_time_zone, v_low, v_high);
        if v_change is null then
            if v_high = (v_wall - v_offset) at time zone 'UTC' then
                return v_high;
            end if;
            v_low := v_high;
        else
            v_new_offset := pgqueue.utc_offset(p_time_zone, v_change);
            if v_cron.elapsed then
                -- The clock goes back: look for a match in the hours that come again. Forward: the same one, unless it is skipped.
                -- From here to v_wall there is none: looked for at each change of the clock for 28 years, it took 2 s.
                if v_new_offset < v_offset then
                    v_wall := coalesce(pgqueue.cron_wall(v_cron, (v_change at time zone 'UTC') + v_new_offset,
                        (v_change at time zone 'UTC') + v_offset), v_wall);
                elsif v_wall < (v_change at time zone 'UTC') + v_new_offset then
                    v_wall := pgqueue.cron_wall(v_cron, (v_change at time zone 'UTC') + v_new_offset, null);
                end if;
            elsif v_wall < (v_change at time zone 'UTC') + v_new_offset then
                -- It lies in the hour that is skipped.
                return v_change;
            end if;
            v_low := v_change - interval '1 second';
            v_offset := v_new_offset;
            if v_wall is not null and (v_wall - v_offset) at time zone 'UTC' = v_change then
                return v_change;
            end if;
            v_low := v_change;
        end if;
    end loop;
    return null;
end
$$;
revoke all on function pgqueue.next_tick(text, text, timestamptz) from public;

-- The next p_count ticks after p_after, at most 10,000.
create or replace function pgqueue.next_ticks(
    p_cron text,
    p_time_zone text default 'UTC',
    p_after timestamptz default clock_timestamp(),
    p_count bigint default 10
)
returns setof timestamptz
language plpgsql
stable
parallel safe
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    for v_turn in 1..least(p_count, 10000) loop
        p_after := pgqueue.next_tick(p_cron, p_time_zone, p_after);
        exit when p_after is null;
        return next p_after;
    end loop;
end
$$;
revoke all on function pgqueue.next_ticks(text, text, timestamptz, bigint) from public;
