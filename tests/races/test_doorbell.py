"""The doorbell: who is woken by what. Absence is proved by a marker that comes later."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from tests.races.sessions import SECONDS
from tests.support.sqljobs import (
    claim,
    claim_one,
    column,
    insert,
    insert_many,
    job_in,
    value,
    worker,
)
from tests.support.wait import eventually

if TYPE_CHECKING:
    from tests.races.conftest import Open
    from tests.races.sessions import Sessions
    from tests.support.sqljobs import Db


def _listener(open_session: Open) -> Db:
    conn = open_session()
    conn.execute("listen pgqueue")
    return conn


def _rest(conn: Db, *queues: str) -> list[int]:
    return column(conn, "select place from pgqueue.rest(%s)", list(queues or ("default",)))


def _leave(conn: Db, *, pass_on: bool = False, queue: str = "default") -> None:
    conn.execute("select pgqueue.leave(%s, %s)", ([queue], pass_on))


def _heard(listener: Db, sender: Db) -> list[str]:
    """What has arrived: notifications come in commit order, so a marker ends the wait."""
    marker = f"marker {random.random()}"  # noqa: S311
    sender.execute("select pg_notify('pgqueue', %s)", (marker,))
    found: list[str] = []
    while marker not in found:
        got = [n.payload for n in listener.notifies(timeout=SECONDS, stop_after=1)]
        assert got, "the marker did not arrive"
        found += got
    return found[: found.index(marker)]


def _hash(db: Db, queue: str = "default") -> int:
    return int(value(db, "select hashtext(%s)", queue))


def test_an_insert_notifies_nobody_while_nobody_sleeps(open_session: Open) -> None:
    """NOTIFY's global lock is for those who need it."""
    db, listener = open_session(), _listener(open_session)
    insert(db)

    assert _heard(listener, db) == []


def test_an_insert_rings_once_for_the_doorman(open_session: Open) -> None:
    """One notification per statement and queue, however many rows; none for other queues."""
    db, listener = open_session(), _listener(open_session)
    places = _rest(listener, "default", "mail")
    insert_many(db, 100)
    insert(db, queue="mail")
    insert(db, queue="other")

    assert places == [0, 0]
    assert _heard(listener, db) == [f"ring {_hash(db)}", f"ring {_hash(db, 'mail')}"]


def test_a_statement_for_several_queues_rings_each_once(open_session: Open) -> None:
    """Only those where somebody sleeps."""
    db, listener = open_session(), _listener(open_session)
    _rest(listener, "a", "b")
    db.execute(
        """insert into pgqueue.jobs (job_type, queue)
           select 't', q from unnest('{a,b,c,a,b,c}'::text[]) q"""
    )

    assert sorted(_heard(listener, db)) == sorted(f"ring {_hash(db, q)}" for q in ("a", "b"))


@pytest.mark.parametrize("job_type", ["t", "narrow"])
def test_a_claim_that_found_a_gate_busy_rings(open_session: Open, job_type: str) -> None:
    """For who comes next: what the gate lets out is not found by its holder, nor by this claim."""
    db, listener, holder = open_session(), _listener(open_session), open_session.transaction()
    db.execute("select pgqueue.set_limit('job_type', 'narrow', 5)")
    db.execute("insert into pgqueue.openings (gate) select '-1'")
    insert(db, job_type)
    by = worker(db)
    _rest(listener)
    holder.execute("select pgqueue.hold_gates('{-1}')")
    claim_one(db, by)

    assert f"ring {_hash(db)}" in _heard(listener, db)


def test_an_insert_that_rolls_back_rings_nobody(open_session: Open) -> None:
    """Never visible, never notified; the door can be closed again at once."""
    db, listener, producer = open_session(), _listener(open_session), open_session.transaction()
    _rest(listener)
    insert(producer)
    producer.rollback()

    assert _heard(listener, db) == []
    _leave(listener)
    assert _rest(listener) == [0]


def test_the_door_cannot_be_closed_while_an_insert_is_in_flight(open_session: Open) -> None:
    """-1: poll. After the commit it can, and the last claim before sleep finds the job."""
    db, listener, producer = open_session(), _listener(open_session), open_session.transaction()
    insert(producer)
    during = _rest(listener)
    producer.commit()
    after = _rest(listener)

    assert (during, after) == ([-1], [0])
    assert len(claim(db, worker(db))) == 1


def test_an_insert_that_starts_after_the_door_closed_rings_at_its_commit(
    open_session: Open,
) -> None:
    """The last claim saw nothing, the commit is late: the ring comes with it, not before."""
    db, listener, producer = open_session(), _listener(open_session), open_session.transaction()
    _rest(listener)
    insert(producer)
    seen = claim(db, worker(db))
    before = _heard(listener, db)
    producer.commit()

    assert (seen, before) == ([], [])
    assert _heard(listener, db) == [f"ring {_hash(db)}"]


def test_an_insert_into_a_scheduled_time_rings_nobody(open_session: Open) -> None:
    """It rings when it is promoted."""
    db, listener = open_session(), _listener(open_session)
    _rest(listener)
    insert(db, run_at="2100-01-01")
    inserted = _heard(listener, db)
    db.execute("update pgqueue.scheduled set due_at = '2001-01-01'")
    db.execute("select pgqueue.promote()")

    assert (inserted, _heard(listener, db)) == ([], [f"ring {_hash(db)}"])


@pytest.mark.parametrize(
    "action", ["release", "retry", "fail", "rescue", "update", "follow-up", "resume", "reschedule"]
)
def test_every_way_into_ready_rings(open_session: Open, action: str) -> None:
    """Not only inserts: a worker that sleeps must hear of jobs that come back."""
    db, listener = open_session(), _listener(open_session)
    before = {"retry": "failed", "update": "queued", "resume": "queued", "reschedule": "scheduled"}
    job = job_in(db, before.get(action, "running"))
    if action == "follow-up":
        job_in(db, "blocked")
    db.execute("update pgqueue.running set deadline_at = '2001-01-01'")
    _rest(listener)
    call = {
        "release": "select pgqueue.release(%(id)s, %(token)s)",
        "retry": "select pgqueue.retry(%(id)s)",
        "fail": "select pgqueue.fail(%(id)s, %(token)s, p_retry_after => '0')",
        "rescue": "select pgqueue.rescue()",
        "update": "update pgqueue.jobs set priority = 0 where id = %(id)s",
        "follow-up": """select pgqueue.complete(r.job_id, r.token) from pgqueue.running r
            join pgqueue.blocked b on b.waits_for = r.job_id""",
        "resume": "select pgqueue.resume_queue('default')",
        "reschedule": "select pgqueue.reschedule(%(id)s, null)",
    }[action]
    db.execute(call, {"id": job.job_id, "token": job.token})

    assert _heard(listener, db) == [f"ring {_hash(db)}"]


@pytest.mark.parametrize(
    "call", ["select pgqueue.resume_job_type('t')", "select pgqueue.set_job_type('t', true)"]
)
def test_a_type_that_comes_back_rings_every_queue(open_session: Open, call: str) -> None:
    """Its jobs may wait anywhere."""
    db, listener = open_session(), _listener(open_session)
    db.execute(call)

    assert _heard(listener, db) == ["ring *"]


def test_more_than_16_queues_ring_all(open_session: Open) -> None:
    """One notification and no lock per queue, whoever sleeps."""
    db, listener = open_session(), _listener(open_session)
    many = """insert into pgqueue.jobs (job_type, queue)
        select 't', 'q' || n from generate_series(1, %s) n"""
    db.execute(many, (17,))
    seventeen = _heard(listener, db)
    _rest(listener, "q3")
    db.execute(many, (16,))

    assert seventeen == ["ring *"]
    assert _heard(listener, db) == [f"ring {_hash(db, 'q3')}"]


def test_an_inserter_of_more_than_16_queues_rings_even_those_who_lay_down_meanwhile(
    open_session: Open,
) -> None:
    """It holds no lock, so the door can be closed before its commit: it always rings."""
    db, listener, producer = open_session(), _listener(open_session), open_session.transaction()
    producer.execute(
        """insert into pgqueue.jobs (job_type, queue)
           select 't', 'q' || n from generate_series(1, 20) n"""
    )
    places = _rest(listener, "q3")
    seen = claim(db, worker(db), queues=["q3"])
    producer.commit()

    assert (places, seen) == ([0], [])
    assert _heard(listener, db) == ["ring *"]


def test_the_first_idle_worker_is_the_doorman_and_the_others_take_seats(open_session: Open) -> None:
    """Seats are taken from the lowest; a free one is filled again."""
    conns = [_listener(open_session) for _ in range(4)]
    places = [_rest(conn)[0] for conn in conns]
    _leave(conns[2])

    assert places == [0, 1, 2, 3]
    assert _rest(conns[2]) == [2]


def test_passing_the_door_on_addresses_the_lowest_seat_alone(open_session: Open) -> None:
    """One worker wakes, not all; it finds the door open."""
    db = open_session()
    doorman, one, two = (_listener(open_session) for _ in range(3))
    for conn in (doorman, one, two):
        _rest(conn)
    _leave(doorman, pass_on=True)
    first = _heard(one, db)
    _leave(one)
    retaken = _rest(one)
    _leave(one, pass_on=True)

    assert first == [f"seat {_hash(db)} 1"]
    assert retaken == [0]
    assert _heard(two, db)[-1:] == [f"seat {_hash(db)} 2"]


def test_leaving_without_passing_on_wakes_nobody(open_session: Open) -> None:
    """A doorman with room left goes on claiming by itself."""
    db, doorman, one = open_session(), _listener(open_session), _listener(open_session)
    _rest(doorman)
    _rest(one)
    _leave(doorman)

    assert _heard(one, db) == []


def test_passing_on_with_an_empty_bench_notifies_nobody(open_session: Open) -> None:
    """The next that lies down finds the door open."""
    db, doorman, late = open_session(), _listener(open_session), _listener(open_session)
    _rest(doorman)
    _leave(doorman, pass_on=True)

    assert _heard(late, db) == []
    assert _rest(late) == [0]


def test_leaving_gives_back_every_door_and_seat(open_session: Open) -> None:
    """Of all queues, also those that are not named."""
    one, two = _listener(open_session), _listener(open_session)
    _rest(two, "b")
    taken = _rest(one, "a", "b")
    _leave(one, queue="a")
    held = value(
        two,
        """select count(*) from pg_locks where locktype = 'advisory' and pid = %s""",
        one.info.backend_pid,
    )

    assert (taken, held) == ([0, 1], 0)


@pytest.mark.parametrize("how", ["closed", "killed"])
def test_a_doorman_whose_session_ends_leaves_the_door_open(open_session: Open, how: str) -> None:
    """Nothing to clean up, and inserts need not notify the dead."""
    db, doorman, heir = open_session(), _listener(open_session), _listener(open_session)
    _rest(doorman)
    pid = doorman.info.backend_pid
    if how == "closed":
        doorman.close()
    else:
        db.execute("select pg_terminate_backend(%s)", (pid,))
    eventually(
        lambda: not column(db, "select pid from pg_stat_activity where pid = %s", pid),
        what="the session has ended",
    )
    insert(db)

    assert _heard(heir, db) == []
    assert _rest(heir) == [0]


def test_a_doorman_does_not_hold_up_an_insert(open_session: Open) -> None:
    """The trigger only tries the lock."""
    db, doorman = open_session(), _listener(open_session)
    _rest(doorman)
    db.execute("set lock_timeout = '1ms'")
    insert(db)

    assert value(db, "select count(*) from pgqueue.ready") == 1


@pytest.mark.parametrize(("usage", "rings"), [(0.49, True), (0.5, False), (0.97, False)])
def test_an_insert_does_not_notify_into_a_queue_that_fills_up(
    open_session: Open, usage: float, *, rings: bool
) -> None:
    """A full queue would fail the COMMIT of the application; workers poll meanwhile."""
    setup = open_session()
    setup.execute("alter function pg_notification_queue_usage() rename to real_queue_usage")
    setup.execute(
        f"""create function pg_catalog.pg_notification_queue_usage() returns double precision
            language sql as 'select {usage}::float8'"""
    )
    db, listener = open_session(), _listener(open_session)
    _rest(listener, "default", "mail")
    by = worker(db)
    insert(db)
    insert_many(db, 1, queue="mail")
    job = claim_one(db, by)
    db.execute("select pgqueue.cancel(%s)", (job.job_id,))
    db.execute("select pgqueue.resume_job_type('t')")
    wanted = [f"ring {_hash(db)}", f"ring {_hash(db, 'mail')}", f"cancel {by}", "ring *"]

    assert _heard(listener, db) == (wanted if rings else [])
    assert value(db, "select count(*) from pgqueue.jobs") == 2


def test_a_worker_that_takes_a_seat_while_the_doorman_leaves_finds_the_door_open(
    open_session: Open, sessions: Sessions
) -> None:
    """The doorman saw an empty bench and woke nobody: the newcomer must look at the door again."""
    setup, doorman, gate = open_session(), _listener(open_session), open_session()
    _rest(doorman)
    gate.execute("select pg_advisory_lock(1)")
    setup.execute("alter function pg_try_advisory_lock(int, int) rename to real_try_advisory_lock")
    setup.execute(
        """create function pg_catalog.pg_try_advisory_lock(int, int) returns boolean
           language plpgsql as $$
           begin
               if $1 = 7067002 then
                   perform pg_advisory_lock(1), pg_advisory_unlock(1);
               end if;
               return pg_catalog.real_try_advisory_lock($1, $2);
           end $$"""
    )
    newcomer = sessions.start(
        open_session(), "select place from pgqueue.rest('{default}')"
    ).blocked()
    _leave(doorman, pass_on=True)
    gate.execute("select pg_advisory_unlock(1)")

    assert newcomer.value() == 0


def test_nobody_sits_down_at_an_open_door_behind_an_inserter(
    open_session: Open, sessions: Sessions
) -> None:
    """
    The doorman leaves and somebody inserts between the two looks of who finds the door taken.

    Nobody rings then, so he must not sleep. Found by tests/model/bell.py.
    """
    db, doorman, other = open_session(), open_session(), open_session()
    producer = open_session.transaction()
    source = value(db, "select pg_get_functiondef('pgqueue.rest'::regproc)")
    looks_again = "if place > 0 then"
    assert source.count(looks_again) == 1
    pause = "perform pg_advisory_lock(1, 2); perform pg_advisory_unlock(1, 2); "
    db.execute(source.replace(looks_again, pause + looks_again))
    doorman.execute("select pg_advisory_lock(1, 2)")
    doorman.execute("select pg_advisory_lock(7067001, hashtext('default'))")
    resting = sessions.start(other, "select place from pgqueue.rest('{default}')").blocked()
    doorman.execute("select pg_advisory_unlock(7067001, hashtext('default'))")
    insert(producer)
    doorman.execute("select pg_advisory_unlock(1, 2)")
    place = resting.value()
    producer.commit()

    assert place == -1
    assert value(db, "select count(*) from pg_locks where classid in (7067001, 7067002)") == 0
