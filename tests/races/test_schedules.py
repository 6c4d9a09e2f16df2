"""Several schedulers at once: each tick becomes one job."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from tests.support.sqljobs import column, value

if TYPE_CHECKING:
    from tests.races.conftest import Open
    from tests.races.sessions import Sessions
    from tests.support.sqljobs import Db


def _run_many(db: Db, times: int) -> int:
    return sum(int(value(db, "select enqueued from pgqueue.run_schedules()")) for _ in range(times))


def test_four_schedulers_make_each_tick_once(open_session: Open, sessions: Sessions) -> None:
    """Twenty schedules of every second, forty ticks behind: each tick is one job."""
    db = open_session()
    for n in range(20):
        db.execute("select pgqueue.set_schedule(%s, '* * * * * *', 't')", (f"s{n}",))
    db.execute(
        """update pgqueue.schedules
        set next_tick_at = date_trunc('second', clock_timestamp()) - interval '40 s'"""
    )
    made = sessions.together([partial(_run_many, open_session(), 10) for _ in range(4)])
    doubled = column(
        db,
        """select headers ->> 'tick_at' from pgqueue.jobs
        group by headers ->> 'schedule', headers ->> 'tick_at' having count(*) > 1""",
    )

    assert doubled == []
    assert sum(made) == value(db, "select count(*) from pgqueue.jobs") >= 20 * 41


def test_a_scheduler_skips_what_another_has_in_hand(open_session: Open) -> None:
    """The second neither waits nor repeats the tick; what the first rolls back comes again."""
    first, second = open_session(), open_session()
    first.execute("select pgqueue.set_schedule('s', '@yearly', 't')")
    first.execute("update pgqueue.schedules set next_tick_at = next_tick_at - interval '1 year'")
    first.execute("begin")
    in_hand = value(first, "select enqueued from pgqueue.run_schedules()")
    meanwhile = value(second, "select enqueued from pgqueue.run_schedules()")
    first.execute("rollback")
    afterwards = value(second, "select enqueued from pgqueue.run_schedules()")

    assert (in_hand, meanwhile, afterwards) == (1, 0, 1)


def test_changing_a_schedule_waits_for_its_tick(open_session: Open, sessions: Sessions) -> None:
    """A change while a tick is in hand takes effect after it, and loses nothing."""
    first, second = open_session(), open_session()
    first.execute("select pgqueue.set_schedule('s', '@yearly', 't')")
    first.execute("update pgqueue.schedules set next_tick_at = next_tick_at - interval '1 year'")
    first.execute("begin")
    first.execute("select * from pgqueue.run_schedules()")
    change = sessions.start(second, "select pgqueue.set_schedule('s', '@monthly')").blocked()
    first.execute("commit")
    upcoming = change.value()

    assert upcoming == value(first, "select pgqueue.next_tick('@monthly')")
    assert value(first, "select count(*) from pgqueue.jobs") == 1
