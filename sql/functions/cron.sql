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
-- The parts: here expressions are read; next_tick.sql goes by clock and zone.
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
