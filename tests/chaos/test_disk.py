"""The disk is full: nothing is half written, nothing acknowledged is lost, work goes on after."""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from tests.chaos.machinery.disk import Disk
from tests.chaos.machinery.stage import Stage, seconds_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from uuid import UUID

    Figure = Callable[[str, object], None]

pytestmark = pytest.mark.scenario
MEGABYTES = 220
FULL_SECONDS = 6.0
PAYLOAD_BYTES = 2_000
INSERT = (
    "insert into pgqueue.jobs (job_type, payload)"
    " select 'write_and_nap', jsonb_build_object('seconds', 0) from generate_series(1, 5)"
    " returning id"
)
BULKY = "insert into public.bulk select repeat(md5(random()::text), %s) from generate_series(1, 50)"
DISK_FULL = psycopg.errors.DiskFull


@pytest.fixture
def disk() -> Iterator[Disk]:
    """A small disk."""
    reason = Disk.missing()
    if reason is not None:
        pytest.skip(reason)
    with Disk(MEGABYTES) as disk:
        yield disk


class Producer(threading.Thread):
    """Inserts jobs without pause, and remembers what was acknowledged and what refused."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(daemon=True)
        self.acknowledged: set[UUID] = set()
        self.full = 0
        self.unavailable = 0
        self.unexpected: list[str] = []
        self.over = threading.Event()
        self._stage = stage

    def run(self) -> None:
        """Until told that it is over."""
        while not self.over.wait(0.02):
            try:
                with self._stage.server.connect("chaos") as conn:
                    while not self.over.wait(0.02):
                        self._insert(conn)
            except psycopg.OperationalError:
                # The server is away: the last insert may have happened, and is not acknowledged.
                self.unavailable += 1

    def _insert(self, conn: psycopg.Connection[Any]) -> None:
        try:
            self.acknowledged |= {row[0] for row in conn.execute(INSERT)}
        except DISK_FULL:
            self.full += 1
        except psycopg.OperationalError:
            raise
        except psycopg.Error as exc:
            self.unexpected.append(repr(exc))


@pytest.fixture
def producing(stage: Stage) -> Iterator[Producer]:
    """A producer under way, and two workers."""
    db = stage.db()
    db.execute("create table public.written (job_id uuid)")
    db.execute("create table public.bulk (line text)")
    for n in range(2):
        stage.worker(f"w{n}", poll_seconds=0.5)
    producer = Producer(stage)
    producer.start()
    try:
        seconds_until(lambda: len(producer.acknowledged) > 100)
        yield producer
    finally:
        producer.over.set()
        producer.join(20)


def finished(stage: Stage) -> int:
    """How many jobs are done; -1 while nobody can say."""
    try:
        with stage.server.connect("chaos") as conn:
            ((count,),) = conn.execute("select count(*) from pgqueue.finished").fetchall()
            return int(count)
    except psycopg.OperationalError:
        return -1


def settle(stage: Stage, producer: Producer, figure: Figure) -> None:
    """Let everything be done; acknowledged jobs and their effects are all there, each once."""
    before = finished(stage)
    resumed = seconds_until(lambda: finished(stage) > max(before, 0), seconds=60)
    producer.over.set()
    producer.join(20)
    with stage.server.connect("chaos") as db:
        open_jobs = (
            "select count(*) from pgqueue.jobs j"
            " where not exists (select from pgqueue.finished f where f.job_id = j.id)"
        )
        drained = seconds_until(lambda: db.execute(open_jobs).fetchall() == [(0,)], seconds=60)
        present = {row[0] for row in db.execute("select id from pgqueue.jobs")}
        statuses = dict(
            db.execute("select status, count(*)::int from pgqueue.finished group by 1").fetchall()
        )
        written = db.execute("select count(*), count(distinct job_id) from public.written")
        effects, distinct = written.fetchone() or (0, 0)
    lost = len(producer.acknowledged - present)
    figure("inserts refused (53100); not answered", f"{producer.full}; {producer.unavailable}")
    figure("first completion after there is room; drained", f"{resumed:.1f} s; {drained:.1f} s")
    figure("acknowledged jobs", len(producer.acknowledged))
    figure("lost", lost)
    figure("effects twice", effects - distinct)

    assert producer.unexpected == []
    assert lost == 0
    assert statuses == {"succeeded": len(present)}
    assert (effects, distinct) == (len(present), len(present))


@pytest.fixture(params=["data", "wal"])
def stage(request: pytest.FixtureRequest, disk: Disk) -> Iterator[Stage]:
    """A server with its data on the small disk and its WAL elsewhere, or the other way round."""
    elsewhere = Path(tempfile.mkdtemp(prefix="pgqueue-wal-"))
    elsewhere.chmod(0o755)
    stage = Stage(
        disk.path / "server" if request.param == "data" else None,
        settings={"max_wal_size": "64MB", "min_wal_size": "32MB", "wal_recycle": "off"},
    )
    stage.server.create()
    wal = stage.server.pgdata / "pg_wal"
    target = (elsewhere if request.param == "data" else disk.path) / "wal"
    shutil.move(wal, target)
    for path in (target, *target.rglob("*")):
        stage.server.account.owns(path)
    wal.symlink_to(target)
    try:
        with stage:
            yield stage
    finally:
        shutil.rmtree(elsewhere, ignore_errors=True)


@pytest.mark.parametrize("stage", ["data"], indirect=True)
def test_a_full_data_disk_refuses_and_recovers(
    stage: Stage, disk: Disk, producing: Producer, record_property: Figure
) -> None:
    """Tables cannot grow: inserts fail with 53100 and the server stays up."""
    db = stage.db()
    disk.fill()
    before = finished(stage)
    refused = 0
    end = time.monotonic() + FULL_SECONDS
    while time.monotonic() < end:
        try:
            db.execute(BULKY, (PAYLOAD_BYTES * 10,))
        except DISK_FULL:
            refused += 1
    during = finished(stage) - before
    disk.relieve()
    with stage.server.connect("chaos") as again:
        again.execute("truncate public.bulk")
    record_property("bulk inserts of others refused (53100)", refused)
    record_property(f"jobs finished while it was full ({FULL_SECONDS:g} s)", during)

    settle(stage, producing, record_property)


@pytest.mark.parametrize("stage", ["wal"], indirect=True)
def test_a_full_wal_disk_stops_the_server_and_loses_nothing(
    stage: Stage, disk: Disk, producing: Producer, record_property: Figure
) -> None:
    """Not a byte for the WAL: PANIC; with room again the server starts, and all is there."""
    disk.fill()
    db = stage.db()

    def crashed() -> bool:
        try:
            db.execute("select pg_switch_wal()")
            db.execute("create temp table if not exists noise as select 1")
        except psycopg.Error:
            return db.broken
        return False

    down = seconds_until(crashed, seconds=60)
    panic = seconds_until(lambda: "PANIC" in stage.server.tail(200), seconds=30)
    disk.relieve()
    began = time.monotonic()
    if stage.server.pid is None:
        stage.server.start()
    seconds_until(lambda: finished(stage) >= 0)
    record_property("server down after", f"{down + panic:.1f} s")
    record_property("server back after there is room", f"{time.monotonic() - began:.1f} s")

    settle(stage, producing, record_property)
