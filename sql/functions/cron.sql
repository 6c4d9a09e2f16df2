-- Cron expressions, and when they tick. Every client asks here, so that two never disagree about a time.
--
-- Five fields, or six with seconds first:  [second] minute hour day-of-month month day-of-week
--   *  ?  a  a-b  */n  a/n  a-b/n  and lists of those; names of months and weekdays; Sunday is 0 and 7
--   L in day-of-month is the month's last day; 2#1 is the first Tuesday, L5 the last Friday of the month
--   @yearly @annually @monthly @weekly @daily @midnight @hourly @minutely
-- Where both day fields are restricted (anything but * and ?) a day that matches either matches.
--
-- When clocks change, by the hour field:
--   it begins with *   the schedule goes by elapsed time: it ticks in both passes of a repeated hour, and has no
--                      tick in a skipped one
--   anything else      the schedule goes by the calendar: a time in a repeated hour ticks at its first pass only; times
--                      in a skipped hour tick once, at the moment the clock jumps
-- Proved by tests/sql/test_cron.py, against croniter over 40 zones.

-- The numbers that one field of an expression stands for, sorted. Raises PQ006. p_names: at 1 the lowest number's name.
create or replace function pgqueue.cron_field(p_field text, p_what text, p_min integer, p_max integer, p_names text[] default '{}')
returns integer[]
language plpgsql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
    v_item text;
    v_match text[];
    v_from integer;
    v_to integer;
    v_step integer;
    v_values integer[] := array[]::integer[];
begin
    foreach v_item in array string_to_array(lower(p_field), ',') loop
        v_match := regexp_match(v_item, '^(?:(\*|\?)|([a-z]{3}|\d{1,2})(?:-([a-z]{3}|\d{1,2}))?)(?:/(\d{1,4}))?$');
        v_step := coalesce(v_match[4]::integer, 1);
        if v_match[1] is not null then
            v_from := p_min;
            v_to := p_max;
        else
            v_from := coalesce(array_position(p_names, v_match[2]) - 1 + p_min, nullif(regexp_replace(v_match[2], '\D', '', 'g'), '')::integer);
            v_to := coalesce(array_position(p_names, v_match[3]) - 1 + p_min, nullif(regexp_replace(v_match[3], '\D', '', 'g'), '')::integer,
                case when v_match[3] is not null then null when v_match[4] is null then v_from
                    when p_what = 'day-of-week' then 6 else p_max end);
        end if;
        -- fri-sun: the week's last day is 7 when it ends a range.
        if p_what = 'day-of-week' and v_to = 0 and v_from > 0 then
            v_to := 7;
        end if;
        if v_match is null or v_step = 0 or v_from is null or v_to is null or v_from not between p_min and p_max
            or v_to not between v_from and p_max
        then
            raise exception using errcode = 'PQ006', message = format('cron: %L is not a %s', v_item, p_what),
                hint = format('Numbers from %s to %s, ranges a-b, steps */n, lists of those, or *.', p_min, p_max);
        end if;
        v_values := v_values || array(select generate_series(v_from, v_to, v_step));
    end loop;
    if p_what = 'day-of-week' then
        v_values := array(select v % 7 from unnest(v_values) v);
    end if;
    return array(select distinct v from unnest(v_values) v order by v);
end
$$;
revoke all on function pgqueue.cron_field(text, text, integer, integer, text[]) from public;

-- The fields of an expression, macros written out: {second, minute, hour, day-of-month, month, day-of-week}. Raises PQ006.
create or replace function pgqueue.cron_fields(p_cron text)
returns text[]
language plpgsql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
    v_cron text := regexp_replace(btrim(p_cron, E' \t'), '[ \t]+', ' ', 'g');
    v_fields text[] := string_to_array(case lower(v_cron)
        when '@yearly' then '0 0 1 1 *'
        when '@annually' then '0 0 1 1 *'
        when '@monthly' then '0 0 1 * *'
        when '@weekly' then '0 0 * * 0'
        when '@daily' then '0 0 * * *'
        when '@midnight' then '0 0 * * *'
        when '@hourly' then '0 * * * *'
        when '@minutely' then '* * * * *'
        else v_cron end, ' ');
begin
    if cardinality(v_fields) = 5 then
        v_fields := array['0'] || v_fields;
    end if;
    if v_fields is null or cardinality(v_fields) <> 6 or length(p_cron) > 500 then
        raise exception using errcode = 'PQ006', message = format('cron: %L has not five or six fields', left(p_cron, 100)),
            hint = '[second] minute hour day-of-month month day-of-week, or @hourly, @daily, @weekly, @monthly, @yearly.';
    end if;
    return v_fields;
end
$$;
revoke all on function pgqueue.cron_fields(text) from public;

-- An expression, ready for cron_wall(): arrays of numbers by field. last_day: L in day-of-month; nth: {weekday, n} pairs
-- flattened, n = 0 for the last; day_rule: both, dom, dow or any, which of the two day fields restrict.
create or replace function pgqueue.cron_parse(
    p_cron text,
    out seconds integer[],
    out minutes integer[],
    out hours integer[],
    out days integer[],
    out last_day boolean,
    out months integer[],
    out weekdays integer[],
    out nth integer[],
    out day_rule text,
    out elapsed boolean
)
language plpgsql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
    v_fields text[] := pgqueue.cron_fields(p_cron);
    v_names constant text[] := array['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'];
    v_item text;
    v_match text[];
    v_days text[] := array[]::text[];
    v_weekdays text[] := array[]::text[];
begin
    seconds := pgqueue.cron_field(v_fields[1], 'second', 0, 59);
    minutes := pgqueue.cron_field(v_fields[2], 'minute', 0, 59);
    hours := pgqueue.cron_field(v_fields[3], 'hour', 0, 23);
    months := pgqueue.cron_field(v_fields[5], 'month', 1, 12, '{jan,feb,mar,apr,may,jun,jul,aug,sep,oct,nov,dec}');
    last_day := false;
    foreach v_item in array string_to_array(v_fields[4], ',') loop
        if lower(v_item) = 'l' then
            last_day := true;
        else
            v_days := array_append(v_days, v_item);
        end if;
    end loop;
    days := case when v_days = '{}' then '{}' else pgqueue.cron_field(array_to_string(v_days, ','), 'day-of-month', 1, 31) end;
    nth := '{}';
    foreach v_item in array string_to_array(lower(v_fields[6]), ',') loop
        v_match := regexp_match(v_item, '^([a-z]{3}|[0-7])#([1-5])$');
        v_match := coalesce(v_match, (select array[m[1], '0'] from regexp_match(v_item, '^l([a-z]{3}|[0-7])$') m where m is not null));
        if v_match is null then
            v_weekdays := array_append(v_weekdays, v_item);
        else
            nth := nth || array[(pgqueue.cron_field(v_match[1], 'day-of-week', 0, 7, v_names))[1], v_match[2]::integer];
        end if;
    end loop;
    weekdays := case when v_weekdays = '{}' then '{}'
        else pgqueue.cron_field(array_to_string(v_weekdays, ','), 'day-of-week', 0, 7, v_names) end;
    day_rule := case
        when v_fields[4] in ('*', '?') and v_fields[6] in ('*', '?') then 'any'
        when v_fields[4] in ('*', '?') then 'dow'
        when v_fields[6] in ('*', '?') then 'dom'
        else 'both' end;
    elapsed := left(v_fields[3], 1) in ('*', '?');
end
$$;
revoke all on function pgqueue.cron_parse(text) from public;

-- The first local time at or after p_from that matches; NULL = none within 50 years, as with the 30th of February. It may
-- give up with NULL in the month after p_to (NULL = no such limit).
create or replace function pgqueue.cron_wall(p_cron record, p_from timestamp, p_to timestamp)
returns timestamp
language plpgsql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
    -- Whole seconds, rounded up.
    v_from timestamp := case when date_trunc('second', p_from) = p_from then p_from
        else date_trunc('second', p_from) + interval '1 second' end;
    v_month timestamp := date_trunc('month', v_from);
    v_day date;
    v_time time;
begin
    for v_turn in 0..600 loop
        exit when v_month > p_to;
        if extract(month from v_month)::integer = any (p_cron.months) then
            for v_day in
                select d.day::date
                from generate_series(greatest(v_month, date_trunc('day', v_from)), v_month + interval '1 month -1 day', interval '1 day') as d (day)
                where case p_cron.day_rule
                    when 'any' then true
                    when 'dom' then pgqueue.cron_dom(p_cron.days, p_cron.last_day, d.day::date)
                    when 'dow' then pgqueue.cron_dow(p_cron.weekdays, p_cron.nth, d.day::date)
                    else pgqueue.cron_dom(p_cron.days, p_cron.last_day, d.day::date)
                        or pgqueue.cron_dow(p_cron.weekdays, p_cron.nth, d.day::date)
                    end
                order by 1
            loop
                v_time := pgqueue.cron_time(p_cron.hours, p_cron.minutes, p_cron.seconds,
                    case when v_day = v_from::date then v_from::time else time '00:00' end);
                if v_time is not null then
                    return v_day + v_time;
                end if;
            end loop;
        end if;
        v_month := v_month + interval '1 month';
    end loop;
    return null;
end
$$;
revoke all on function pgqueue.cron_wall(record, timestamp, timestamp) from public;

create or replace function pgqueue.cron_dom(p_days integer[], p_last_day boolean, p_day date)
returns boolean
language sql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
    select extract(day from p_day)::integer = any (p_days)
        or (p_last_day and extract(day from p_day + 1) = 1);
$$;
revoke all on function pgqueue.cron_dom(integer[], boolean, date) from public;

create or replace function pgqueue.cron_dow(p_weekdays integer[], p_nth integer[], p_day date)
returns boolean
language sql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
    select extract(dow from p_day)::integer = any (p_weekdays)
        or exists (
            select from generate_series(1, cardinality(p_nth), 2) as i (i)
            where p_nth[i.i] = extract(dow from p_day)::integer
                and case p_nth[i.i + 1]
                    when 0 then extract(month from p_day + 7) <> extract(month from p_day)
                    else (extract(day from p_day)::integer + 6) / 7 = p_nth[i.i + 1]
                    end);
$$;
revoke all on function pgqueue.cron_dow(integer[], integer[], date) from public;

-- The first time of day at or after p_from; NULL = none on that day. The arrays are sorted.
create or replace function pgqueue.cron_time(p_hours integer[], p_minutes integer[], p_seconds integer[], p_from time)
returns time
language plpgsql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
    v_hour integer := extract(hour from p_from);
    v_minute integer := extract(minute from p_from);
    v_second integer := extract(second from p_from);
    v_found integer;
begin
    if v_hour = any (p_hours) then
        if v_minute = any (p_minutes) then
            select min(s) into v_found from unnest(p_seconds) s where s >= v_second;
            if v_found is not null then
                return make_time(v_hour, v_minute, v_found);
            end if;
        end if;
        select min(m) into v_found from unnest(p_minutes) m where m > v_minute;
        if v_found is not null then
            return make_time(v_hour, v_found, p_seconds[1]);
        end if;
    end if;
    select min(h) into v_found from unnest(p_hours) h where h > v_hour;
    return case when v_found is not null then make_time(v_found, p_minutes[1], p_seconds[1]) end;
end
$$;
revoke all on function pgqueue.cron_time(integer[], integer[], integer[], time) from public;

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
