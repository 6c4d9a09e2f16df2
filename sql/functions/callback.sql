-- Callbacks: a finished job with a callback_url becomes one job of type pgqueue.callback, with retries, backoff and dead letters
-- as every job has. A worker with --callbacks delivers it: POST, signed as Standard Webhooks says.
--
-- The body is stored with the delivery: the same bytes and the same webhook-id (the delivery's own job id) in each attempt. Secrets never leave the
-- database: sign_callback() signs for the attempt that owns the delivery. And a callback goes only to a host for which
-- an operator has added a secret, whatever a producer wrote into callback_url: that is the allow-list.
-- Proved by tests/sql/test_callback.py, tests/integration/test_callbacks.py and tests/unit/test_callback_post.py.

-- One delivery for each of these finished jobs that has a callback_url. It belongs to the job's tenant and trace. Nothing
-- here may fail for what a job holds, or it could not finish: a result or errors of more than 64 KiB are left out.
create or replace function pgqueue.enqueue_callbacks(p_job_ids uuid[])
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if not exists (select from pgqueue.job_types t where t.job_type = 'pgqueue.callback') then
        insert into pgqueue.job_types (job_type, queue, max_attempts, timeout, backoff_base, backoff_factor, backoff_cap, description)
        values ('pgqueue.callback', 'callbacks', 12, '30 seconds', '10 seconds', 3, '6 hours', 'Tell a callback_url that its job has finished.')
        on conflict do nothing;
    end if;
    -- An operator disabled the type: INSERTs of it are refused, and jobs must finish nevertheless.
    if not (select t.enabled from pgqueue.job_types t where t.job_type = 'pgqueue.callback') then
        return;
    end if;
    insert into pgqueue.jobs (job_type, tenant_id, callback_of, headers, payload)
    select 'pgqueue.callback', j.tenant_id, j.id, pgqueue.trace_headers(j.headers),
        jsonb_build_object('url', j.callback_url, 'body', jsonb_build_object(
            'type', 'job.' || f.status,
            'timestamp', to_jsonb(f.finished_at),
            'data', jsonb_build_object('id', j.id, 'job_type', j.job_type, 'status', f.status, 'attempt', f.attempt,
                'idempotency_key', j.idempotency_key, 'result', pgqueue.small_json(f.result), 'result_url', f.result_url,
                'errors', coalesce(pgqueue.small_json(f.errors), '[]'), 'reason', f.reason))::text)
    from pgqueue.jobs j
    cross join lateral (select x.* from pgqueue.finished x where x.job_id = j.id limit 1) f
    where j.id = any (p_job_ids) and j.callback_url is not null
    order by j.id;
end
$$;
revoke all on function pgqueue.enqueue_callbacks(uuid[]) from public;

-- p_json, unless it is larger than 64 KiB, stored or printed: 12 bytes of jsonb (1e131071) print as 131,072.
create or replace function pgqueue.small_json(p_json jsonb)
returns jsonb
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
    select case when pg_column_size(p_json) <= 65536 then case when octet_length(p_json::text) <= 65536 then p_json end end;
$$;
revoke all on function pgqueue.small_json(jsonb) from public;

-- The W3C trace context among a job's headers; NULL = none.
create or replace function pgqueue.trace_headers(p_headers jsonb)
returns jsonb
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
    select jsonb_object_agg(h.key, h.value) from jsonb_each(p_headers) as h (key, value)
    where h.key in ('traceparent', 'tracestate', 'baggage');
$$;
revoke all on function pgqueue.trace_headers(jsonb) from public;

-- HMAC-SHA256 (RFC 2104) on the server's own sha256(): pgcrypto would be an extension. Two hashes and 64 XORs: 40 microseconds.
create or replace function pgqueue.hmac_sha256(p_key bytea, p_message bytea)
returns bytea
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_key bytea := case when length(p_key) > 64 then sha256(p_key) else p_key end;
    v_inner bytea;
    v_outer bytea;
begin
    v_key := v_key || decode(repeat('00', 64 - length(v_key)), 'hex');
    v_inner := v_key;
    v_outer := v_key;
    for i in 0..63 loop
        v_inner := set_byte(v_inner, i, get_byte(v_key, i) # 54);
        v_outer := set_byte(v_outer, i, get_byte(v_key, i) # 92);
    end loop;
    return sha256(v_outer || sha256(v_inner || p_message));
end
$$;
revoke all on function pgqueue.hmac_sha256(bytea, bytea) from public;

-- What the attempt that owns a delivery is to send, signed now with every secret of its host: the receiver accepts any one of
-- the signatures, so that secrets can be rotated. signature NULL = no secret for this host: do not send. Raises PQ001.
create or replace function pgqueue.sign_callback(p_job_id uuid, p_token bigint)
returns table (url text, webhook_id text, webhook_timestamp bigint, webhook_signature text, body text)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_job pgqueue.jobs;
begin
    select j.* into v_job
    from pgqueue.running r
    join pgqueue.jobs j on j.id = r.job_id
    where r.job_id = p_job_id and r.token = p_token and j.callback_of is not null;
    if not found then
        perform pgqueue.raise_lease_lost(p_job_id, p_token);
    end if;
    url := v_job.payload ->> 'url';
    body := v_job.payload ->> 'body';
    webhook_id := v_job.id::text;
    webhook_timestamp := extract(epoch from clock_timestamp())::bigint;
    webhook_signature := (
        select string_agg('v1,' || encode(pgqueue.hmac_sha256(decode(substr(s.secret, 7), 'base64'),
            convert_to(format('%s.%s.%s', webhook_id, webhook_timestamp, body), 'UTF8')), 'base64'), ' ' order by s.id desc)
        from pgqueue.callback_secrets s
        where s.host = pgqueue.callback_host(url) and (s.tenant_id is null or s.tenant_id = v_job.tenant_id));
    return next;
end
$$;
revoke all on function pgqueue.sign_callback(uuid, bigint) from public;

-- The host and port that a callback_url names, in lower case: what callback_secrets.host is compared with.
create or replace function pgqueue.callback_host(p_url text)
returns text
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
    select lower(substring(p_url from '^https?://([^/?]+)'));
$$;
revoke all on function pgqueue.callback_host(text) from public;

-- Let callbacks go to a host (with its port, if the URLs name one), signed with p_secret: whsec_ and base64, or NULL for a new one of
-- 32 random bytes. Returns the secret, once: nobody can read it later. A second secret of the same host rotates: both sign,
-- until the older is removed. p_tenant_id: for that tenant's jobs only. Raises PQ006.
create or replace function pgqueue.add_callback_secret(p_host text, p_secret text default null, p_tenant_id text default null)
returns text
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant text := pgqueue.check_enqueue('ignore', p_tenant_id);
    v_secret text := coalesce(p_secret,
        'whsec_' || encode(sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())), 'base64'));
begin
    if (v_secret ~ '^whsec_[A-Za-z0-9+/]{32,86}={0,2}$' and length(v_secret) % 4 = 2) is not true then
        -- Not the secret itself: messages are logged.
        raise exception using errcode = 'PQ006', message = 'a secret is whsec_ and 24 to 64 bytes in base64',
            hint = 'Leave it out: select pgqueue.add_callback_secret(host) makes one and returns it.';
    end if;
    if (lower(p_host) ~ '^[a-z0-9._\[\]-][a-z0-9.:_\[\]-]*$' and length(p_host) <= 261) is not true then
        raise exception using errcode = 'PQ006', message = format('%L is not a host', p_host),
            hint = 'Give the name as the URLs have it, with the port if they name one: hooks.example.com or hooks.example.com:8443.';
    end if;
    insert into pgqueue.callback_secrets (host, tenant_id, secret) values (lower(p_host), v_tenant, v_secret);
    return v_secret;
end
$$;
revoke all on function pgqueue.add_callback_secret(text, text, text) from public;

-- Remove a secret (id: pgqueue.callback_secrets). With its last one, callbacks to the host end. False = there is none.
create or replace function pgqueue.remove_callback_secret(p_id bigint)
returns boolean
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant text := pgqueue.current_tenant();
begin
    delete from pgqueue.callback_secrets s where s.id = p_id and (v_tenant is null or s.tenant_id = v_tenant);
    return found;
end
$$;
revoke all on function pgqueue.remove_callback_secret(bigint) from public;
