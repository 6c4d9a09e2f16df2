-- What a running attempt says about itself. Both raise PQ001 when it has lost the job.

-- Progress in percent (0 to 100) and a message. The row stays where it is in every index (a HOT update).
create or replace function pgqueue.progress(p_job_id uuid, p_token bigint, p_percent real, p_message text default null)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if p_percent is null or not p_percent between 0 and 100 or length(p_message) > 1000 then
        raise exception using errcode = 'PQ006', message = format('progress is %s: give 0 to 100 and at most 1,000 characters', p_percent);
    end if;
    update pgqueue.running r
    set progress = p_percent, progress_message = coalesce(p_message, r.progress_message), progress_at = clock_timestamp()
    where r.job_id = p_job_id and r.token = p_token;
    if not found then
        perform pgqueue.raise_lease_lost(p_job_id, p_token);
    end if;
end
$$;
revoke all on function pgqueue.progress(uuid, bigint, real, text) from public;

-- Give the attempt until p_by from now, but not past the job's deadline_at; returns the new deadline. A job without a time limit gets one.
create or replace function pgqueue.extend(p_job_id uuid, p_token bigint, p_by interval)
returns timestamptz
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_deadline timestamptz;
begin
    if p_by is null or p_by <= interval '0' or p_by > interval '30 days' then
        raise exception using errcode = 'PQ006', message = format('cannot extend by %s: give up to 30 days', p_by);
    end if;
    update pgqueue.running r
    set deadline_at = least(clock_timestamp() + p_by, (select j.deadline_at from pgqueue.jobs j where j.id = p_job_id))
    where r.job_id = p_job_id and r.token = p_token
    returning r.deadline_at into v_deadline;
    if not found then
        perform pgqueue.raise_lease_lost(p_job_id, p_token);
    end if;
    return v_deadline;
end
$$;
revoke all on function pgqueue.extend(uuid, bigint, interval) from public;
