"""The demo: its application, and `pgqueue demo` from beginning to end."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from pgqueue import PgqueueError, load_app
from pgqueue.demo.process import worker_process
from pgqueue.demo.shell import Shell, find_psql
from pgqueue.migrate_app import migrate_app
from pgqueue.testing import assert_enqueued, drain, refute_enqueued
from tests.support.psql import REPOSITORY
from tests.support.wait import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.cluster import Cluster

PRICE = {
    "sku": "HAM-1",
    "name": "Hammer",
    "price": "8.99",
    "currency": "EUR",
    "valid_from": "2025-01-01",
}
IMPORT = "insert into pgqueue.jobs (job_type, payload) values ('import_prices', %s)"


@pytest.mark.parametrize("psql", [find_psql(), None], ids=["psql", "without psql"])
def test_a_statement_without_rows_is_followed_by_one_empty_line(
    dsn: str, psql: Path | str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of several statements each with rows shows its own."""
    shell = Shell(dsn, psql)
    shell.show("insert into pgqueue.jobs (job_type) values ('quiet')")
    silent = capsys.readouterr().out
    shell.show("select 1 as one; set search_path = pg_catalog; select 2 as two")
    told = capsys.readouterr().out.partition("two\n")[2].split()

    assert silent == "    insert into pgqueue.jobs (job_type) values ('quiet')\n\n"
    assert [word.lower() for word in told if word.strip("-")] == ["one", "1", "two", "2"]


@pytest.fixture
def shop(dsn: str, db: psycopg.Connection[Any]) -> psycopg.Connection[Any]:
    """A connection to a database with the demo's own tables."""
    migrate_app("workers.demo", dsn)
    return db


def upsert(conn: psycopg.Connection[Any], *prices: dict[str, str]) -> tuple[Any, ...] | None:
    """What the function counts: created, updated, skipped."""
    found = conn.execute("select * from demo.upsert_prices(%s)", [Jsonb(list(prices))])
    return found.fetchone()


def test_a_price_is_created_then_skipped_then_updated(shop: psycopg.Connection[Any]) -> None:
    """What is the same already is not written."""
    counts = [
        upsert(shop, PRICE),
        upsert(shop, PRICE, {**PRICE, "sku": "HAM-2"}),
        upsert(shop, {**PRICE, "price": "9.49"}, {**PRICE, "sku": "HAM-2"}),
    ]

    assert counts == [(1, 0, 0), (1, 0, 1), (0, 1, 1)]


def test_a_skipped_price_leaves_no_dead_row(shop: psycopg.Connection[Any]) -> None:
    """Its version in the table is the one of the first import."""
    upsert(shop, PRICE)
    before = shop.execute("select ctid, xmin from demo.prices").fetchall()

    upsert(shop, PRICE)

    assert shop.execute("select ctid, xmin from demo.prices").fetchall() == before


def test_an_import_is_partial_and_a_second_one_changes_nothing(
    shop: psycopg.Connection[Any],
) -> None:
    """Seven rows are refused each time; the follow-up comes only where something changed."""
    app = load_app("workers.demo")
    shop.execute(IMPORT, [Jsonb({"file": "prices.csv"})])
    first = drain(shop, app, limit=1)[0]
    assert_enqueued(shop, "price_statistics", payload={"file": "prices.csv"}, count=1)
    drain(shop, app)

    shop.execute(IMPORT, [Jsonb({"file": "prices.csv"})])
    second = drain(shop, app)[0]

    assert (first.status, second.status) == ("partial", "partial")
    assert [error.item for error in first.errors] == [25, 63, 100, 142, 174, 207, 246]
    nothing = {"rows": 290, "created": 0, "updated": 0, "skipped": 283, "refused": 7}
    assert first.result == {**nothing, "created": 283, "skipped": 0}
    assert second.result == nothing
    refute_enqueued(shop, "price_statistics")


@pytest.mark.parametrize("file", ["../sql/roles.sql", "missing.csv"])
def test_a_file_that_is_not_data_fails_the_import_at_once(
    shop: psycopg.Connection[Any], file: str
) -> None:
    """Without a retry, and without a price."""
    shop.execute(IMPORT, [Jsonb({"file": file})])

    runs = drain(shop, load_app("workers.demo"), advance=True)

    assert [run.status for run in runs] == ["failed"]
    assert shop.execute("select count(*) from demo.prices").fetchone() == (0,)


def environment(**changes: str) -> dict[str, str]:
    """Ours, without what names a server."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("PG") or name == "PGQUEUE_TEST_DSN"
    }
    return kept | changes


@contextmanager
def demo(folder: Path, **changes: str) -> Iterator[subprocess.Popen[str]]:
    """`pgqueue demo` in a process group of its own; stopped at the end if it still runs."""
    with subprocess.Popen(
        [sys.executable, "-m", "pgqueue", "demo"],
        cwd=folder,
        env=environment(**changes),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()


def left_behind(cluster: Cluster) -> list[Any]:
    """The demo's databases, and sessions in them."""
    with psycopg.connect(cluster.dsn(cluster.maintenance_dbname)) as conn:
        return conn.execute(
            "select datname from pg_database where datname ~ '^pgqueue_demo_'"
            " union all select datname from pg_stat_activity where datname ~ '^pgqueue_demo_'"
        ).fetchall()


def named(cluster: Cluster) -> dict[str, str]:
    """How the environment names the tests' server."""
    return {"PGQUEUE_DSN": cluster.dsn(cluster.maintenance_dbname)}


def test_the_demo_runs_on_a_named_server_and_leaves_nothing(
    tmp_path: Path, cluster: Cluster
) -> None:
    """From any directory; it shows the views, ends with success and takes its database along."""
    with demo(tmp_path, **named(cluster)) as process:
        told, _ = process.communicate(timeout=110)

    assert process.returncode == 0, told
    for text in (
        "==> Use the server that is named",
        "insert into pgqueue.jobs",
        r"import_prices\s+\| partial\s+\|\s+1 \|\s+100 ",
        r"send_reminder\s+\| succeeded\s+\|\s+2 \|",
        r"207 \| bad_price ",
        r"job partial .* 290 processed, 283 created, 0 updated, 0 skipped in \d+ ms",
        "It created 0, updated 0 and skipped 283: nothing has changed.",
        r"\(0 rows\)",
        r"==> The demo took \d+\.\d s",
    ):
        assert re.search(text, told), f"no {text} in\n{told}"
    assert left_behind(cluster) == []


@pytest.mark.slow
def test_the_demo_starts_a_server_of_its_own(tmp_path: Path) -> None:
    """And removes it."""
    with demo(tmp_path) as process:
        told, _ = process.communicate(timeout=110)

    assert process.returncode == 0, told
    assert "==> Start an embedded PostgreSQL 18" in told
    assert "==> Stop the server and remove it" in told


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 128 + signal.SIGTERM)]
)
def test_the_demo_cleans_up_when_it_is_interrupted(
    tmp_path: Path, cluster: Cluster, number: signal.Signals, code: int
) -> None:
    """As by Ctrl-C, which the worker hears too."""
    with demo(tmp_path, **named(cluster)) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "import_prices running" in line or "import_prices 1" in line:
                break
        os.killpg(process.pid, number)
        told, _ = process.communicate(timeout=60)

    assert process.returncode == code, told
    eventually(lambda: not left_behind(cluster), what="the demo's database is gone")
    assert "Traceback" not in told


def test_a_server_that_cannot_be_reached_is_an_error_with_a_hint(tmp_path: Path) -> None:
    """No traceback, and another exit code than 0."""
    dsn = f"host={tmp_path} dbname=postgres user=nobody"

    with demo(tmp_path, PGQUEUE_DSN=dsn) as process:
        told, _ = process.communicate(timeout=60)

    assert process.returncode == 7, told
    assert "Error:" in told
    assert "Traceback" not in told


def test_a_worker_that_ends_by_itself_is_reported_with_its_log(dsn: str, tmp_path: Path) -> None:
    """The message shows why."""
    with worker_process("no_such_app", dsn, folder=tmp_path) as worker:
        worker.process.wait(60)

        with pytest.raises(
            PgqueueError, match=r"ended by itself: exit code [1-9](?s:.)*no_such_app"
        ):
            worker.check()


def test_a_worker_that_works_stops_by_itself(dsn: str) -> None:
    """SIGTERM, exit code 0."""
    with worker_process("workers.demo", dsn, folder=REPOSITORY) as worker:
        with psycopg.connect(dsn, autocommit=True) as conn:
            eventually(
                lambda: conn.execute("select from pgqueue.worker_status").fetchall(), seconds=60
            )
        worker.stop()

    assert worker.process.returncode == 0
