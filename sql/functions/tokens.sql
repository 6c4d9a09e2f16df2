-- Fencing tokens that no crash and no failover repeats.
--
-- A draw from token_seq can be lost: with the tail of the WAL in a crash (synchronous_commit = off, or a claim that had not committed),
-- with what an asynchronous standby lacked when it was promoted, with what came after a base backup. The sequence would
-- then hand out again what a zombie still holds. So a mark, a row of the UNLOGGED table token_marks, stands for "token_seq is ahead of all
-- that was drawn". Such a table is empty after every crash, on every promoted standby and in every restored backup; whoever
-- finds no mark leaps first, by more than was drawn since anything was flushed, and makes one.
--
-- A mark that is seen is as durable as its leap: the transaction that makes it commits with synchronous_commit = on (or remote_apply), and its WAL
-- holds the leap. Its rollback leaves the leap and no mark, and the next one leaps again. Several who find no mark leap each.
-- made_by = xmin and made_in = tableoid: the row is where it was written. pg_dump carries rows of unlogged tables over, but there another
-- transaction inserts them, into another table. One of the two is not enough: the install in a new server and a restore by one transaction
-- in another one have the same number (724), and every restore in a new server makes the same table. pg_upgrade, VACUUM
-- and CLUSTER keep both. A cold copy of a stopped server, started beside it, is not noticed.
-- A leap takes 2^32 and at random up to half as much, so that two servers which begin from the same point (a standby that
-- lacks even the leap of the one before) draw different tokens, though not in order. After a million leaps 2^53 is reached, beyond which JSON readers round.
-- The look at the mark is 17,400 of the 1,108,000 instructions of a lone claim (PostgreSQL 15, callgrind); a batch looks once.
-- Proved by tests/sql/test_tokens.py, tests/races/test_tokens.py, tests/chaos/test_crash.py and test_standby.py. Model: tests/model/lease.py.

-- Let token_seq leap forward and make the mark. Never backwards: whoever leaps holds a lock from the look to the leap. The
-- rollback that frees it, long before the transaction ends, undoes no setval().
create or replace function pgqueue.leap_tokens()
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_mark uuid := gen_random_uuid();
begin
    if current_setting('synchronous_commit') not in ('on', 'remote_apply') then
        perform set_config('synchronous_commit', 'on', true);
    end if;
    begin
        perform pg_advisory_xact_lock(7067009, 1);
        perform setval('pgqueue.token_seq', s.last_value + 4294967296 + (random() * 2147483648)::bigint)
        from pgqueue.token_seq s;
        raise exception using errcode = 'PQ000';
    exception when sqlstate 'PQ000' then
        null;
    end;
    insert into pgqueue.token_marks (id, made_by, made_in) values (v_mark, '0', 0);
    -- Not pg_current_xact_id(): in a subtransaction xmin is another.
    update pgqueue.token_marks m set made_by = m.xmin, made_in = m.tableoid where m.id = v_mark;
end
$$;
revoke all on function pgqueue.leap_tokens() from public;

-- One token. claim() and claim_limited() do the same for a batch: look for the mark, then draw.
create or replace function pgqueue.next_token()
returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if not exists (select from pgqueue.token_marks m where m.made_by = m.xmin and m.made_in = m.tableoid) then
        perform pgqueue.leap_tokens();
    end if;
    return nextval('pgqueue.token_seq');
end
$$;
revoke all on function pgqueue.next_token() from public;
