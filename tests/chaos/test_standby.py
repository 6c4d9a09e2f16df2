"""The primary dies and the standby takes over: what was acknowledged, and what was not."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from tests.chaos.machinery.stage import DATABASE, Stage, seconds_until
from tests.chaos.machinery.standby import Standby
from tests.support.databases import violations

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from uuid import UUID

    Figure = Callable[[str, object], None]

pytestmark = pytest.mark.scenario
LEASE = 4.0


@pytest.fixture
def stage() -> Iterator[Stage]:
    """A primary, with a table to write into."""
    stage = Stage()
    try:
        stage.server.start()
        stage.server.install(DATABASE)
        stage.db().execute("create table public.written (job_id uuid)")
        yield stage
    finally:
        stage.close()


@pytest.fixture
def standby(stage: Stage) -> Iterator[Standby]:
    """Its standby, streaming."""
    standby = Standby(stage.server, stage.directory / "standby")
    standby.start()
    try:
        seconds_until(standby.in_step)
        yield standby
    finally:
        standby.release_receiver()
        standby.server.close()


class Client(threading.Thread):
    """
    Enqueues, claims and completes by SQL, and remembers every acknowledgement.

    A commit with a warning 01000 or without an answer may have happened or not: `info`.
    """

    def __init__(self, dsn: str, name: str) -> None:
        super().__init__(daemon=True)
        self.enqueued: set[UUID] = set()
        self.completed: dict[UUID, int] = {}
        self.tokens: list[int] = []
        self.info = 0
        self.warned = 0
        self.over = threading.Event()
        self._dsn = dsn
        self._name = name

    def run(self) -> None:
        """Until told that it is over, over as many connections as it takes."""
        while not self.over.wait(0.05):
            try:
                with psycopg.connect(self._dsn, connect_timeout=5) as conn:
                    conn.add_notice_handler(self._notice)
                    worker = self._one(
                        conn, "select pgqueue.register_worker(%s, '{sql}')", self._name
                    )
                    conn.commit()
                    while not self.over.is_set():
                        self._round(conn, worker)
            except psycopg.Error:
                self.info += 1

    def _round(self, conn: psycopg.Connection[Any], worker: int) -> None:
        job = self._one(
            conn, "insert into pgqueue.jobs (job_type, queue) values ('sql', 'sql') returning id"
        )
        if self._commit(conn):
            self.enqueued.add(job)
        rows = conn.execute("select job_id, token from pgqueue.claim(%s, '{sql}', 1)", (worker,))
        claimed = rows.fetchall()
        if not self._commit(conn):
            return
        for job, token in claimed:
            self.tokens.append(token)
            conn.execute("select pgqueue.complete(%s, %s::bigint)", (job, token))
            if self._commit(conn):
                self.completed[job] = token

    def _commit(self, conn: psycopg.Connection[Any]) -> bool:
        before = self.warned
        conn.commit()
        return self.warned == before

    def _notice(self, diagnostic: psycopg.errors.Diagnostic) -> None:
        if diagnostic.sqlstate == "01000":
            self.warned += 1

    @staticmethod
    def _one(conn: psycopg.Connection[Any], statement: str, *arguments: object) -> Any:
        ((value,),) = conn.execute(statement, arguments).fetchall()
        return value


def take_over(stage: Stage, standby: Standby, clients: list[Client], figure: Figure) -> None:
    """Kill the primary, promote the standby, wait until work goes on."""
    before = [len(client.tokens) for client in clients]
    began = time.monotonic()
    stage.server.stop("immediate")
    standby.release_receiver()
    standby.promote()
    promoted = time.monotonic() - began
    seconds_until(
        lambda: any(len(c.tokens) > n + 1 for c, n in zip(clients, before, strict=True)), seconds=30
    )
    figure(
        "promoted after; first claim on the new primary",
        f"{promoted:.1f} s; {time.monotonic() - began:.1f} s",
    )


def clients_of(stage: Stage, standby: Standby) -> list[Client]:
    """Four clients, under way."""
    dsn = make_conninfo(stage.dsn(), **standby.route())
    clients = [Client(dsn, f"sql{n}") for n in range(4)]
    for client in clients:
        client.start()
    seconds_until(lambda: sum(len(client.completed) for client in clients) > 200)
    return clients


def compare(standby: Standby, clients: list[Client]) -> tuple[int, int, int, int]:
    """Acknowledged jobs; of them absent; acknowledged completions; of them absent."""
    for client in clients:
        client.over.set()
        client.join(20)
    with standby.server.connect(DATABASE) as db:
        present = {row[0] for row in db.execute("select id from pgqueue.jobs")}
        finished = {
            row[0]
            for row in db.execute("select job_id from pgqueue.finished where status = 'succeeded'")
        }
    enqueued = {job for client in clients for job in client.enqueued}
    completed = {job for client in clients for job in client.completed}
    return len(enqueued), len(enqueued - present), len(completed), len(completed - finished)


def test_a_synchronous_standby_has_all_that_was_acknowledged(
    stage: Stage, standby: Standby, record_property: Figure
) -> None:
    """No acknowledged job or completion is missing, and tokens go on growing."""
    standby.require(synchronous=True)
    seconds_until(standby.in_step)
    worker = stage.worker(
        "worker", dsn=make_conninfo(stage.dsn(), **standby.route()), lease_seconds=LEASE
    )
    clients = clients_of(stage, standby)
    take_over(stage, standby, clients, record_property)
    with standby.server.connect(DATABASE) as db:
        ((job,),) = db.execute(
            "insert into pgqueue.jobs (job_type) values ('write_in_task') returning id"
        ).fetchall()
        mended = seconds_until(
            lambda: db.execute("select from pgqueue.finished where job_id = %s", (job,)).fetchall()
        )
    enqueued, lost, completed, undone = compare(standby, clients)
    backwards = [c for c in clients if c.tokens != sorted(c.tokens)]
    record_property("worker's next job done after", f"{mended:.1f} s")
    record_property("acknowledged enqueues; lost", f"{enqueued}; {lost}")
    record_property("acknowledged completions; lost", f"{completed}; {undone}")
    record_property("without an answer", sum(client.info for client in clients))
    record_property("tokens drawn twice", _twice(clients))

    assert worker.process.poll() is None
    assert (lost, undone, backwards, _twice(clients)) == (0, 0, [], 0)
    assert violations(standby.server.dsn(DATABASE)) == []


def test_an_asynchronous_standby_may_lack_the_last_acknowledgements(
    stage: Stage, standby: Standby, record_property: Figure
) -> None:
    """What is lost is counted; what survives is whole; no token is drawn again."""
    clients = clients_of(stage, standby)
    standby.hold_receiver()
    counts = [len(client.completed) for client in clients]
    seconds_until(
        lambda: sum(len(c.completed) - n for c, n in zip(clients, counts, strict=True)) > 200
    )
    take_over(stage, standby, clients, record_property)
    enqueued, lost, completed, undone = compare(standby, clients)
    record_property("acknowledged enqueues; lost by configuration", f"{enqueued}; {lost}")
    record_property("acknowledged completions; lost by configuration", f"{completed}; {undone}")
    backwards = [c for c in clients if c.tokens != sorted(c.tokens)]
    record_property("tokens drawn twice, on either side of the loss", _twice(clients))

    assert lost > 0
    assert (backwards, _twice(clients)) == ([], 0)
    assert violations(standby.server.dsn(DATABASE)) == []


def test_a_commit_whose_wait_for_the_standby_is_cancelled_is_no_acknowledgement(
    stage: Stage, standby: Standby, record_property: Figure
) -> None:
    """The warning 01000 says so, each time; here it has happened, there it may not."""
    standby.require(synchronous=True)
    seconds_until(standby.in_step)
    standby.server.stop("immediate")
    warned: list[str] = []
    jobs: list[UUID] = []

    def insert() -> None:
        with stage.server.connect(DATABASE) as conn:
            conn.add_notice_handler(lambda said: warned.append(str(said.sqlstate)))
            rows = conn.execute("insert into pgqueue.jobs (job_type) values ('x') returning id")
            jobs.extend(row[0] for row in rows)

    with psycopg.connect(stage.dsn(), autocommit=True) as db:
        db.execute("set synchronous_commit = local")
        for _ in range(20):
            thread = threading.Thread(target=insert, daemon=True)
            thread.start()
            seconds_until(lambda: _cancel_waiters(db))
            thread.join(10)
        ((present,),) = db.execute(
            "select count(*) from pgqueue.jobs where id = any(%s)", (jobs,)
        ).fetchall()
    record_property(
        "waits cancelled; warned; present on the primary", f"20; {len(warned)}; {present}"
    )

    assert warned == ["01000"] * 20
    assert present == 20


def test_a_worker_waits_for_an_absent_standby_with_few_sessions(
    stage: Stage, standby: Standby, record_property: Figure
) -> None:
    """Each commit waits for the standby; a call given up leaves its session waiting behind."""
    standby.require(synchronous=True)
    seconds_until(standby.in_step)
    worker = stage.worker("waiting", lease_seconds=LEASE)
    counting = "select count(*) from pg_stat_activity where application_name like 'pgqueue %'"
    most = 0
    with psycopg.connect(stage.dsn(), autocommit=True) as db:
        standby.server.stop("immediate")
        end = time.monotonic() + 30
        while time.monotonic() < end:
            ((count,),) = db.execute(counting).fetchall()
            most = max(most, count)
            time.sleep(0.2)
        standby.server.start()
        ((job,),) = db.execute(
            "insert into pgqueue.jobs (job_type) values ('nothing') returning id"
        ).fetchall()
        back = seconds_until(
            lambda: db.execute("select from pgqueue.finished where job_id = %s", (job,)).fetchall()
        )
        seconds_until(lambda: db.execute(counting).fetchall()[0][0] <= 4, seconds=30)
    record_property("most sessions of one worker in 30 s (3 by rights)", most)
    record_property("a job done after the standby was back", f"{back:.1f} s")

    assert worker.process.poll() is None
    assert most <= 12


def _cancel_waiters(db: psycopg.Connection[Any]) -> bool:
    rows = db.execute(
        "select pg_cancel_backend(pid) from pg_stat_activity where wait_event = 'SyncRep'"
    ).fetchall()
    return bool(rows)


def _twice(clients: list[Client]) -> int:
    drawn = [token for client in clients for token in client.tokens]
    return len(drawn) - len(set(drawn))
