-- Every violation of the invariants between the tables, from one snapshot. No rows = all is well. Reads everything: for
-- tests and for doubts, not for dashboards. A login confined to a tenant gets no rows: they would name other tenants' jobs.
create or replace function pgqueue.verify()
returns table (problem text, job_id uuid, detail text)
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
    select p.problem, p.job_id, p.detail
    from (
    with places as (
        select r.job_id, 'ready' as place, r.flags from pgqueue.ready r
        union all select s.job_id, 'scheduled', s.flags from pgqueue.scheduled s
        union all select b.job_id, 'blocked', b.flags from pgqueue.blocked b
        union all select u.job_id, 'running', u.flags from pgqueue.running u
        union all select f.job_id, 'finished', 0 from pgqueue.finished f
    ), counted as (
        select p.job_id, count(*) as n, string_agg(p.place, ', ' order by p.place) as places,
            bool_or(p.place <> 'finished') as live, bool_or(p.flags & 1 <> 0) as keyed, bit_or(p.flags & 14) as notices
        from places p group by p.job_id
    )
    select 'job in no table', j.id, format('inserted at %s', j.created_at)
    from pgqueue.jobs j where not exists (select from counted c where c.job_id = j.id)
    union all
    select 'job in several tables', c.job_id, c.places from counted c where c.n > 1
    union all
    select 'state without a job', c.job_id, c.places
    from counted c where not exists (select from pgqueue.jobs j where j.id = c.job_id)
    union all
    select 'finished job holds its unique key', c.job_id, j.unique_key
    from counted c join pgqueue.jobs j on j.id = c.job_id where not c.live and j.unique_key is not null
    union all
    select 'unique key and flag disagree', c.job_id, c.places
    from counted c join pgqueue.jobs j on j.id = c.job_id where c.live and (j.unique_key is not null) <> c.keyed
    union all
    select 'notices and flags disagree', c.job_id, c.places
    from counted c join pgqueue.jobs j on j.id = c.job_id
    where c.live and c.notices <> pgqueue.notice_flags(j.notify, j.feed, j.callback_url)
    union all
    select 'running job of a worker that is gone', r.job_id, format('worker %s', r.worker_id)
    from pgqueue.running r
    where not exists (select from pgqueue.workers w where w.id = r.worker_id and w.rescued_at is null)
    union all
    select 'follow-up of a job that does not run', b.job_id, format('waits for %s', b.waits_for)
    from pgqueue.blocked b
    where b.reason = 'follow_up' and not exists (select from pgqueue.running r where r.job_id = b.waits_for)
        and not exists (select from pgqueue.jobs j where j.id = b.waits_for and j.unique_key is not null)
    union all
    select 'blocked job that waits for nothing', b.job_id, b.reason
    from pgqueue.blocked b
    where b.reason = 'dependencies' and not exists (select from pgqueue.dependencies d where d.job_id = b.job_id)
    union all
    select 'dependency of a job that is not blocked', d.job_id, format('on job %s', d.parent_id)
    from pgqueue.dependencies d
    where not exists (select from pgqueue.blocked b where b.job_id = d.job_id and b.reason = 'dependencies')
    union all
    select 'dependency on a job without the mark', d.job_id, format('on job %s', d.parent_id)
    from pgqueue.dependencies d
    where not exists (select from places p where p.job_id = d.parent_id and p.flags & 16 <> 0)
    union all
    select 'blocked by a hook without its mark', b.job_id, b.reason from pgqueue.blocked b where b.reason = 'hook' and b.flags & 1024 = 0
    union all
    select 'held job that is not blocked', p.job_id, p.place from places p where p.place <> 'blocked' and p.flags & 1024 <> 0
    union all
    select 'hook call for a job that is not finished', c.job_id, c.error
    from pgqueue.hook_calls c where not exists (select from pgqueue.finished f where f.job_id = c.job_id)
    union all
    select 'one token, two attempts', t.job_id, format('token %s', t.token)
    from (
        select r.job_id, r.token from pgqueue.running r
        union all select f.job_id, f.token from pgqueue.finished f where f.token is not null
        union all select a.job_id, a.token from pgqueue.attempts a
    ) t group by t.job_id, t.token having count(*) > 1
    union all
    select 'attempts or results without a job', x.job_id, x.kind
    from (select a.job_id, 'attempts' as kind from pgqueue.attempts a
          union select r.job_id, 'job_results' from pgqueue.job_results r
          union select c.job_id, 'completions' from pgqueue.completions c) x
    where not exists (select from pgqueue.jobs j where j.id = x.job_id)
    union all
    select 'attempt number of a running job', r.job_id, format('attempt %s', r.attempt) from pgqueue.running r where r.attempt < 1
    ) p (problem, job_id, detail)
    where pgqueue.current_tenant() is null;
$$;
revoke all on function pgqueue.verify() from public;
