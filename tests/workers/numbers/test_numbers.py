"""workers/numbers: each demand becomes one work, once."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from pgqueue import load_app
from pgqueue.migrate_app import migrate_app
from pgqueue.testing import drain
from tests.support.applications import look, run_in_worker, survive_kill
from tests.support.psql import REPOSITORY
from tests.support.wait import eventually
from tests.support.workers import enqueue

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Connect

    Db = psycopg.Connection[Any]

APP = "workers.numbers"


@pytest.fixture
def works(dsn: str, db: Db, monkeypatch: pytest.MonkeyPatch) -> Db:
    """A connection to a database with the application, whose producer does not tick."""
    monkeypatch.setenv("PRODUCE_DEMANDS_ENABLED", "false")
    migrate_app(APP, dsn)
    return db


def stored(db: Db) -> list[tuple[Any, ...]]:
    """Bound, total and prefix of each work."""
    return db.execute(
        "select add_up_to, total, split_part(work_code, '-', 1) from numbers.works"
        " order by add_up_to"
    ).fetchall()


def events(db: Db) -> list[tuple[Any, ...]]:
    """What happened, in order."""
    return db.execute("select event, attempt from numbers.work_events order by 1").fetchall()


def create_work(db: Db, bound: int) -> str:
    """By the API's door."""
    (code,) = db.execute("select numbers.create_work(%s)", [bound]).fetchone() or ("",)
    return str(code)


def test_demands_become_works_and_a_repeated_demand_changes_nothing(
    works: Db, dsn: str, tmp_path: Path
) -> None:
    """By a real worker; the second demand of the same work finds it done, and says so."""
    code = create_work(works, 100)
    (api,) = works.execute("select job_id from numbers.works").fetchone() or (None,)
    bare = enqueue(works, "work_demand", add_up_to=10, done=False)
    first = run_in_worker(dsn, works, tmp_path, APP, api, bare)
    before = works.execute("select * from numbers.works order by 1").fetchall()

    again = enqueue(works, "work_demand", add_up_to=100, done=False, work_code=code)
    (second,) = run_in_worker(dsn, works, tmp_path, APP, again)

    assert [(one.status, one.counted) for one in (*first, second)] == [
        ("succeeded", (1, 0, 0)),
        ("succeeded", (1, 0, 0)),
        ("succeeded", (0, 0, 1)),
    ]
    assert first[0].result == second.result
    assert first[0].result == {"work_code": code, "add_up_to": 100, "total": 5050, "done": True}
    assert stored(works) == [(10, 55, "consumer"), (100, 5050, "api")]
    assert works.execute("select * from numbers.works order by 1").fetchall() == before


def test_a_worker_killed_before_the_commit_leaves_nothing_of_its_attempt(
    works: Db, dsn: str, tmp_path: Path
) -> None:
    """The heir's attempt is the only one that stored anything."""
    job_id = enqueue(works, "work_demand", add_up_to=1000, done=False)
    seen: list[Any] = []

    ended = survive_kill(
        dsn,
        works,
        tmp_path,
        APP,
        job_id,
        pause="before_commit",
        after=lambda: seen.append(stored(works)),
    )

    assert seen == [[]]
    assert (ended.status, ended.attempt) == ("succeeded", 2)
    assert stored(works) == [(1000, 500500, "consumer")]
    assert events(works) == [("created", 2), ("finished", 2), ("started", 2)]


def test_workers_killed_among_many_demands_lose_and_double_none(
    works: Db, dsn: str, tmp_path: Path, connect: Connect
) -> None:
    """Each becomes one work, finished once, whoever computed it."""
    held = create_work(works, 1000)
    (first,) = works.execute("select job_id from numbers.works").fetchone() or (None,)
    bounds = range(200)
    ids = [first, *(enqueue(works, "work_demand", add_up_to=bound) for bound in bounds)]
    # Its demand stands in the middle of its transaction until this lock is gone.
    holder = connect(autocommit=False)
    holder.execute("select from numbers.works where work_code = %s for update", [held])
    seen: list[Any] = []

    def killed() -> None:
        seen.append(stored(works)[-1])
        holder.rollback()

    # The heir is killed, too, as soon as it has met that demand.
    survive_kill(
        dsn,
        works,
        tmp_path,
        APP,
        first,
        middle=lambda: eventually(lambda: len(stored(works)) > 20, what="20 works"),
        after=killed,
        concurrency=2,
    )
    run_in_worker(dsn, works, tmp_path, APP, *ids)

    assert seen == [(1000, None, "api")]
    assert [(bound, total) for bound, total, _ in stored(works)] == [
        (bound, bound * (bound + 1) // 2) for bound in (*bounds, 1000)
    ]
    assert works.execute(
        "select event, count(*) from numbers.work_events group by event order by event"
    ).fetchall() == [("created", 201), ("finished", 201), ("started", 201)]


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        ({"add_up_to": -1}, "bad_bound"),
        ({"add_up_to": 1_000_000_001}, "bad_bound"),
        ({"add_up_to": "ten"}, "payload_mismatch"),
        ({"add_up_to": 1.5}, "payload_mismatch"),
        ({}, "payload_mismatch"),
        ({"add_up_to": 1, "work_code": "api-nobody"}, "unknown_work"),
    ],
)
def test_a_demand_that_makes_no_sense_fails_at_once(
    works: Db, payload: dict[str, Any], code: str
) -> None:
    """Without another attempt, and without a work."""
    job_id = enqueue(works, "work_demand", **payload)
    drain(works, load_app(APP))

    ended = look(works, job_id)

    assert (ended.status, ended.attempt, ended.codes) == ("failed", 1, [code])
    assert stored(works) == []


def test_a_demand_that_is_done_asks_for_nothing(works: Db) -> None:
    """It is counted as skipped."""
    job_id = enqueue(works, "work_demand", add_up_to=1, done=True)
    drain(works, load_app(APP))

    assert look(works, job_id).counted == (0, 0, 1)
    assert stored(works) == []


def test_a_bound_that_makes_no_sense_is_refused_at_the_apis_door(works: Db) -> None:
    """No work, and no job."""
    with pytest.raises(psycopg.errors.CheckViolation, match="works_add_up_to_check"):
        create_work(works, -1)

    assert works.execute("select count(*) from pgqueue.jobs").fetchone() == (0,)


def test_a_disabled_job_type_refuses_demands(works: Db) -> None:
    """At the door: no work waits for a consumer that will not come."""
    works.execute('select pgqueue.register_job_types(\'[{"job_type": "work_demand"}]\')')
    works.execute("select pgqueue.set_job_type('work_demand', p_enabled => false)")

    with pytest.raises(psycopg.errors.CheckViolation, match="disabled"):
        create_work(works, 1)

    assert stored(works) == []


def test_the_producers_demands_come_with_its_success(works: Db) -> None:
    """As many as it was told, within its bounds; all computed."""
    job_id = enqueue(works, "produce_demands", count=7)
    drain(works, load_app(APP))

    ended = look(works, job_id)

    assert (ended.result, ended.counted) == ({"demands": 7}, (7, 0, 0))
    assert [total for bound, total, _ in stored(works) if total != bound * (bound + 1) // 2] == []
    assert len(stored(works)) == 7


def test_works_are_found_by_the_time_of_their_creation(works: Db) -> None:
    """From on, before until; page by page; done or not."""
    for bound in range(1, 6):
        code = create_work(works, bound)
        works.execute(
            "update numbers.works set created_on = '2025-01-01Z'::timestamptz + make_interval(days"
            " => %s) where work_code = %s",
            [bound, code],
        )
    call = "select add_up_to, work_code from numbers.search_works('2025-01-03Z', '2025-01-06Z'"

    found = works.execute(f"{call})").fetchall()
    page = works.execute(f"{call}, p_limit => 2)").fetchall()
    rest = works.execute(f"{call}, p_after => %s)", [page[-1][1]]).fetchall()

    assert [bound for bound, _ in found] == [2, 3, 4]
    assert page + rest == found
    assert works.execute(f"{call}, true)").fetchall() == []
    assert works.execute(f"{call}, false)").fetchall() == found


def test_workers_and_producers_call_functions_and_touch_no_table(
    works: Db, connect: Connect
) -> None:
    """Each only its own."""
    worker, producer = connect(role="pgqueue_worker"), connect(role="pgqueue_producer")
    code = create_work(producer, 4)
    started = worker.execute(
        "select done from numbers.start_work(%s, 1, 4, %s)",
        [code.removeprefix("api-"), code],
    ).fetchone()

    assert started == (False,)
    for role, statement in (
        (worker, "select numbers.create_work(1)"),
        (producer, "select numbers.finish_work('x', 1, 1)"),
        (worker, "select * from numbers.works"),
        (producer, "select * from numbers.works"),
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            role.execute(statement)
    assert stored(works) == [(4, None, "api")]


def command(dsn: str, *words: str, **variables: str) -> str:
    """What `python -m workers.numbers` prints."""
    done = subprocess.run(
        [sys.executable, "-m", APP, *words],
        cwd=REPOSITORY,
        env={**os.environ, "PGQUEUE_DSN": dsn, **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout if done.returncode == 0 else f"exit {done.returncode}: {done.stderr}"


def test_producer_consumer_and_search_are_commands(works: Db, dsn: str) -> None:
    """Demand, do, look."""
    produced = command(dsn, "produce", NUMBERS_COUNT="3", NUMBERS_ADD_UP_TO_MAX="9")
    consumed = command(dsn, "consume", "--drain")
    found = command(dsn, "search")

    assert produced == "3 demands enqueued\n"
    assert consumed == ""
    assert found.endswith("3 works\n"), found
    assert len(stored(works)) == 3


def test_nonsense_in_the_environment_is_named(works: Db, dsn: str) -> None:
    """Before anything is enqueued."""
    said = command(dsn, "produce", NUMBERS_COUNT="none")

    assert said.startswith("exit ")
    assert "NUMBERS_COUNT is 'none', not a whole number from 1 to 10000" in said
    assert works.execute("select count(*) from pgqueue.jobs").fetchone() == (0,)
