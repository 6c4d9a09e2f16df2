-- The doorbell: how an INSERT wakes a sleeping worker without every INSERT paying for a NOTIFY.
--
-- NOTIFY takes a database-wide lock at commit and holds it through the WAL flush (32 clients: 32.8k inserts/s
-- without, 4.3k/s with). So an inserter notifies only when somebody sleeps, and learns that without a row:
--
--   The door of a queue is an advisory lock.
--   1. A worker with nothing to do tries the door EXCLUSIVE, session-level, on its LISTEN connection (rest()).
--      Success means that no transaction which rang is still in flight. It then claims once more, without
--      floors; if that is empty it sleeps, still holding the door. It is the doorman.
--   2. An inserter tries the door SHARED, transaction-level (ring()). Success: nobody sleeps, and as the lock is
--      held until the commit is visible nobody can fall asleep before that. Failure: somebody sleeps; it NOTIFYs.
--   So either the inserter notifies or the worker cannot fall asleep before the insert is visible.
--   3. Other idle workers sit on the bench: seat n is an advisory lock too. A benched worker ignores rings. It takes
--      its seat first and tries the door again after that, so a doorman that leaves either sees the seat taken
--      or leaves the door to be found open. It need not claim before it sleeps: whoever gets the door does so after
--      that, and passes on what it cannot take. Where the others handle other job types it had better (live_workers()).
--   4. A doorman that is rung opens the door and claims. If that fills it up, it passes the door on: leave(true)
--      notifies the lowest taken seat, and only that worker wakes: one claim per job, no herd.
--   5. While an inserter's transaction is open the door cannot be closed: rest() says so and the worker polls.
--   A worker that dies loses its locks with its session. Polling is the safety net: a NOTIFY is a hint that anybody
--   can forge or lose. It is skipped when the notify queue is half full, for a full one fails the INSERT's COMMIT.
--
-- Channel 'pgqueue', payloads: 'ring <hash>' a queue has work, 'ring *' any queue, 'seat <hash> <n>' take the
-- door, 'cancel <worker id>' look at your cancel requests. Never data: anybody may LISTEN.
-- Proved by tests/races/test_doorbell.py. Model: tests/model/bell.py.

-- Announce work on these queues. Call it in the transaction that inserts into ready, after the insert.
create or replace function pgqueue.ring(p_queues text[])
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_queue text;
begin
    -- One lock per queue: a statement that feeds very many queues rings them all instead.
    if cardinality(p_queues) > 16 then
        perform pgqueue.ring_all();
        return;
    end if;
    foreach v_queue in array coalesce(p_queues, '{}') loop
        if not pg_try_advisory_xact_lock_shared(7067001, hashtext(v_queue))
            and pg_notification_queue_usage() < 0.5
        then
            perform pg_notify('pgqueue', 'ring ' || hashtext(v_queue));
        end if;
    end loop;
end
$$;
revoke all on function pgqueue.ring(text[]) from public;

-- Announce work on all queues.
create or replace function pgqueue.ring_all()
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if pg_notification_queue_usage() < 0.5 then
        perform pg_notify('pgqueue', 'ring *');
    end if;
end
$$;
revoke all on function pgqueue.ring_all() from public;

-- Lie down: for each queue take the door, or else a seat on the bench. place 0 = doorman, n > 0 = seat n, -1 = an
-- enqueueing transaction is in flight, poll and try again. Session-level locks: call it on the LISTEN connection,
-- for queues on which this session holds nothing; undo with leave(). No free seat counts as -1.
create or replace function pgqueue.rest(p_queues text[])
returns table (queue text, queue_hash integer, place integer)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_queue text;
    v_seat integer;
begin
    foreach v_queue in array p_queues loop
        queue := v_queue;
        queue_hash := hashtext(v_queue);
        place := -1;
        if pg_try_advisory_lock(7067001, queue_hash) then
            place := 0;
        elsif pg_try_advisory_lock_shared(7067001, queue_hash) then
            perform pg_advisory_unlock_shared(7067001, queue_hash);
        else
            for v_n in 1..256 loop
                if pg_try_advisory_lock(7067002, hashtext(v_queue || '#' || v_n)) then
                    place := v_n;
                    exit;
                end if;
            end loop;
            -- The doorman may have left between the two tries: look at the door again, now that the seat shows. If an
            -- inserter has come in since, nobody calls this seat, and he rings nobody: get up and poll.
            if place > 0 then
                v_seat := place;
                if pg_try_advisory_lock(7067001, queue_hash) then
                    place := 0;
                elsif pg_try_advisory_lock_shared(7067001, queue_hash) then
                    perform pg_advisory_unlock_shared(7067001, queue_hash);
                    place := -1;
                end if;
                if place <= 0 then
                    perform pg_advisory_unlock(7067002, hashtext(v_queue || '#' || v_seat));
                end if;
            end if;
        end if;
        return next;
    end loop;
end
$$;
revoke all on function pgqueue.rest(text[]) from public;

-- Get up: give back every door and seat of this session. With p_pass (the worker is full) wake the lowest seat
-- of each queue, so that another idle worker takes the door. Locks before notify: the one who wakes finds it open.
create or replace function pgqueue.leave(p_queues text[], p_pass boolean default false)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_queue text;
begin
    perform pg_advisory_unlock_all();
    if not p_pass or pg_notification_queue_usage() >= 0.5 then
        return;
    end if;
    foreach v_queue in array p_queues loop
        for v_seat in 1..256 loop
            if not pg_try_advisory_lock_shared(7067002, hashtext(v_queue || '#' || v_seat)) then
                perform pg_notify('pgqueue', format('seat %s %s', hashtext(v_queue), v_seat));
                exit;
            end if;
            perform pg_advisory_unlock_shared(7067002, hashtext(v_queue || '#' || v_seat));
        end loop;
    end loop;
end
$$;
revoke all on function pgqueue.leave(text[], boolean) from public;
