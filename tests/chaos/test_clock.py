"""The server's clock jumps: leases end early or late, and no job is done twice or lost."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.chaos.machinery.clock import Clock
from tests.chaos.machinery.stage import Stage, seconds_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import psycopg

    Figure = Callable[[str, object], None]

pytestmark = pytest.mark.scenario
AHEAD, BEHIND = 7_200, -3_600
BATCH = 100


@pytest.fixture
def clock() -> Iterator[Clock]:
    """A clock."""
    reason = Clock.missing()
    if reason is not None:
        pytest.skip(reason)
    with tempfile.TemporaryDirectory(prefix="pgqueue-clock-") as directory:
        Path(directory).chmod(0o755)
        yield Clock(Path(directory))


@pytest.fixture
def stage(clock: Clock) -> Iterator[Stage]:
    """A server with that clock, three workers, and a table to write into."""
    with Stage(environment=clock.environment) as stage:
        stage.db().execute(
            "create table public.written (job_id uuid); grant all on public.written to public"
        )
        yield stage


def ahead_by(db: psycopg.Connection[Any]) -> float:
    """How far the server's clock is ahead of ours."""
    ((theirs,),) = db.execute("select extract(epoch from clock_timestamp())::float8").fetchall()
    return float(theirs) - time.time()


def load(db: psycopg.Connection[Any], seconds: float) -> int:
    """Insert BATCH jobs a second that take up to 0.4 s each; how many."""
    end, inserted = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        db.execute(
            "insert into pgqueue.jobs (job_type, payload) select 'write_and_nap',"
            " jsonb_build_object('seconds', mod(n, 5) / 10.0) from generate_series(1, %s) n",
            (BATCH // 10,),
        )
        inserted += BATCH // 10
        time.sleep(0.1)
    return inserted


def test_jobs_survive_a_clock_that_jumps_forth_and_back(
    stage: Stage, clock: Clock, record_property: Figure
) -> None:
    """Ahead by 2 h every lease has ended; then behind by 1 h; then right: all done, each once."""
    db = stage.db()
    workers = [stage.worker(f"w{n}", poll_seconds=0.5, concurrency=20) for n in range(3)]
    inserted, rescued = load(db, 2), list[int]()
    seen = []
    for offset in (AHEAD, BEHIND, 0):
        clock.set(offset)
        # At once, as an operator's cron might: before the next heartbeat renews anything.
        rescued += [count for (count,) in db.execute("select pgqueue.rescue()").fetchall()]
        seen.append(round(ahead_by(db) / 60))
        inserted += load(db, 4)
    left = seconds_until(
        lambda: db.execute("select count(*) from pgqueue.finished").fetchall() == [(inserted,)],
        seconds=30,
        what="all jobs are done",
    )
    statuses = db.execute("select status, count(*) from pgqueue.finished group by 1").fetchall()
    written = db.execute("select count(*), count(distinct job_id) from public.written").fetchall()
    given_up = sum(worker.said.count("worker was given up") for worker in workers)
    record_property("clock ahead by minutes, as the server says", seen)
    record_property("jobs taken from living workers at each jump", rescued)
    record_property("workers given up that registered again", given_up)
    record_property("jobs", inserted)
    record_property("lost", inserted - sum(count for _, count in statuses))
    record_property("effects twice", written[0][0] - written[0][1])
    record_property("all done after the load ended", f"{left:.1f} s")

    assert seen == [120, -60, 0]
    assert statuses == [("succeeded", inserted)]
    assert written == [(inserted, inserted)]
    assert rescued[0] > 0


def test_a_worker_that_died_in_the_false_future_is_missed_after_its_lease(
    stage: Stage, clock: Clock, record_property: Figure
) -> None:
    """Its last heartbeat is two hours ahead; once the clock is right its job goes back."""
    db = stage.db()
    clock.set(AHEAD)
    doomed = stage.worker("doomed")
    gate = stage.directory / "gate"
    db.execute(
        "insert into pgqueue.jobs (job_type, payload) values ('task_gate', %s::jsonb)",
        (f'{{"gate": "{gate}"}}',),
    )
    seconds_until(lambda: Path(f"{gate}.started").exists())
    doomed.process.kill()
    doomed.ends()
    clock.set(0)
    gate.touch()
    stage.worker("heir")
    done = seconds_until(
        lambda: (
            db.execute("select status, attempt from pgqueue.finished").fetchall()
            == [("succeeded", 2)]
        ),
        seconds=30,
    )
    record_property("taken back and done after (lease 4 s)", f"{done:.1f} s")
