"""A real C# program enqueues and hears back; a real Python worker runs its jobs and calls it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.psql import REPOSITORY
from tests.support.sqljobs import column, value
from tests.support.wait import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.cluster import Cluster
    from tests.support.sqljobs import Db

_HERE = Path(__file__).parent
_COMPILE_SECONDS = 60
_RUN_SECONDS = 100


def _tool(name: str) -> str:
    """Where this program of Mono is; skips the test where it is not."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"no {name} here: apt-get install mono-mcs mono-runtime")
    return found


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program, compiled."""
    program = tmp_path_factory.mktemp("mono") / "shop.exe"
    _compile([_HERE / name for name in ("Shop.cs", "Wire.cs")], program, "-langversion:6")
    return program


def _compile(sources: list[Path], program: Path, *options: str) -> None:
    done = subprocess.run(
        [_tool("mcs"), "-warnaserror", *options, f"-out:{program}", *map(str, sources)],
        capture_output=True,
        text=True,
        timeout=_COMPILE_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@contextmanager
def _worker(dsn: str, db: Db, port: int, log: Path) -> Iterator[None]:
    """`pgqueue worker --app ... --callbacks`, allowed to call this port of 127.0.0.1."""
    command = [sys.executable, "-m", "pgqueue", "worker", "--app", "tests.dotnet.app"]
    policy = {
        "PGQUEUE_CALLBACK_HTTP": "1",
        "PGQUEUE_CALLBACK_PORTS": str(port),
        "PGQUEUE_CALLBACK_NETWORKS": "127.0.0.0/8",
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--callbacks", "--poll-interval", "200ms"],
            stdout=output,
            stderr=output,
            cwd=REPOSITORY,
            env={**os.environ, **policy, "PGQUEUE_DSN": dsn},
        )
    try:
        eventually(
            lambda: column(db, "select id from pgqueue.worker_status where status = 'alive'"),
            seconds=40,
            what="the worker is alive",
        )
        yield
    finally:
        process.terminate()
        try:
            process.wait(40)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


def test_the_sample_has_no_slip_that_a_compiler_finds_without_its_packages(
    tmp_path: Path,
) -> None:
    """Grammar, names and types, against stubs of Npgsql, Dapper, EF Core and the host."""
    sources = [_HERE / "Stubs.cs", *sorted((_HERE / "sample").glob("*.cs"))]
    _compile(sources, tmp_path / "sample.dll", "-langversion:latest", "-target:library")

    assert len(sources) == 8
    assert (tmp_path / "sample.dll").exists()


@pytest.mark.slow
def test_a_csharp_program_enqueues_and_hears_back(
    dsn: str, db: Db, cluster: Cluster, shop: Path, tmp_path: Path
) -> None:
    """Transactions, strings, duplicates, refusals, notification, feed, signed callback."""
    if cluster.password is not None:
        pytest.skip("the server wants a password, which the small driver does not speak")
    port = _free_port()
    secret = value(db, "select pgqueue.add_callback_secret(%s)", f"127.0.0.1:{port}")
    where = [db.info.host, str(db.info.port), db.info.user, db.info.dbname]
    log = tmp_path / "worker.log"
    with _worker(dsn, db, port, log):
        done = subprocess.run(
            [_tool("mono"), str(shop), *where, str(port), secret],
            capture_output=True,
            text=True,
            timeout=_RUN_SECONDS,
            check=False,
        )
        # The last callback was answered; its delivery may still be on its way to succeeded.
        eventually(
            lambda: (
                done.returncode != 0
                or column(db, "select distinct status from pgqueue.job_status") == ["succeeded"]
            ),
            what="every job has succeeded",
        )
    said = done.stdout.splitlines()

    assert done.returncode == 0, done.stdout + done.stderr + log.read_text()
    assert [line for line in said if not line.startswith("ok: ")] == []
    assert len(said) == 26
