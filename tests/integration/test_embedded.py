"""The embedded server starts, stops, survives and cleans up."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from pgqueue.embedded import EmbeddedServer
from tests.support.cluster import wanted_version
from tests.support.psql import REPOSITORY, psql
from tests.support.wait import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

VERSION = wanted_version()

_START_AND_HANG = """
import sys
from pgqueue.embedded import EmbeddedServer
server = EmbeddedServer(version=int(sys.argv[1]), durable=False).start()
print(server.pid, server.data_dir, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def kept(short_tmp: Path) -> Iterator[EmbeddedServer]:
    """A server in a directory of its own, stopped at the end."""
    server = EmbeddedServer(short_tmp / "kept", version=VERSION, durable=False)
    yield server
    server.stop()


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    # A container's first process may not reap: a zombie is dead enough.
    stat_file = Path(f"/proc/{pid}/stat")
    return not stat_file.exists() or ") Z " not in stat_file.read_text()


def test_a_temporary_server_runs_the_wanted_version_and_is_gone_after_stop() -> None:
    """Nothing remains of it: no directory, no process."""
    with EmbeddedServer(version=VERSION, durable=False) as server:
        directory, pid = server.data_dir, server.pid
        running_version = psql(server.dsn(), "show server_version_num")
        locale = psql(server.dsn(), "select 'ä' ~ '\\w', current_setting('server_encoding')")

    assert pid is not None
    assert int(running_version) // 10_000 == VERSION
    assert locale == "t|UTF8"
    assert not directory.exists()
    assert not _alive(pid)
    assert not server.running


def test_a_server_listens_on_no_port_and_its_socket_is_closed_to_others() -> None:
    """`trust` is safe because nobody else reaches the socket."""
    with EmbeddedServer(version=VERSION, durable=False) as server:
        found = server.socket_dir.stat()
        addresses = psql(server.dsn(), "show listen_addresses")

    assert addresses == ""
    assert stat.S_IMODE(found.st_mode) == 0o700


def test_a_temporary_server_ends_when_its_process_is_killed() -> None:
    """After kill -9 of the process that started it, neither server nor directory remain."""
    with subprocess.Popen(
        [sys.executable, "-c", _START_AND_HANG, str(VERSION)],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as starter:
        assert starter.stdout is not None
        pid_text, _, directory = starter.stdout.readline().strip().partition(" ")
        was_there = Path(directory).is_dir()
        starter.send_signal(signal.SIGKILL)
        starter.wait(timeout=20)

    assert was_there
    eventually(lambda: not _alive(int(pid_text)), what="the server is gone")
    eventually(lambda: not Path(directory).exists(), what="its directory is gone")


def test_a_kept_server_is_shared_by_name_and_keeps_its_data(kept: EmbeddedServer) -> None:
    """A second object finds it running and can stop it; a later start has the same data."""
    psql(kept.start().dsn(), "create table kept_rows as select 42 as n")
    other = EmbeddedServer(kept.data_dir, version=VERSION)
    same_pid = other.start().pid == kept.pid
    other.stop()
    stopped = not kept.running
    kept.start()

    assert same_pid
    assert stopped
    assert psql(kept.dsn(), "select n from kept_rows") == "42"


def test_start_and_stop_can_be_repeated(kept: EmbeddedServer) -> None:
    """Starting a running server and stopping a stopped one change nothing."""
    kept.stop()
    pid = kept.start().pid

    assert kept.start().pid == pid
    kept.stop()
    kept.stop()
    assert not kept.running


def test_a_server_starts_after_its_postmaster_was_killed(kept: EmbeddedServer) -> None:
    """Kill -9 leaves a stale postmaster.pid and children that end a moment later."""
    psql(kept.start().dsn(), "create table survivors as select 1 as n")
    pid = kept.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: not kept.running, what="the kill is noticed")
    kept.start()

    assert kept.pid != pid
    assert psql(kept.dsn(), "select n from survivors") == "1"


def test_a_pid_file_that_names_a_stranger_does_not_keep_the_server_down(
    kept: EmbeddedServer,
) -> None:
    """After a restart of the machine the number in postmaster.pid can be anybody's: here, ours."""
    kept.start()
    kept.stop()
    stale = kept.data_dir / "pgdata" / "postmaster.pid"
    stale.write_text(f"{os.getpid()}\n{stale.parent}\n1\n5432\n/nowhere\n\n  1 1\nready   \n")

    assert not kept.running
    assert kept.start().running


def test_two_servers_run_side_by_side() -> None:
    """Each has its own socket."""
    with (
        EmbeddedServer(version=VERSION, durable=False) as one,
        EmbeddedServer(version=VERSION, durable=False) as two,
    ):
        psql(one.dsn(), "create table only_in_one ()")

        assert one.dsn() != two.dsn()
        assert psql(two.dsn(), "select to_regclass('only_in_one') is null") == "t"


def test_concurrent_starts_of_one_directory_yield_one_server(kept: EmbeddedServer) -> None:
    """The lock file lets one of them create and start it; the others find it running."""
    servers = [EmbeddedServer(kept.data_dir, version=VERSION, durable=False) for _ in range(4)]
    with ThreadPoolExecutor(len(servers)) as pool:
        pids = list(pool.map(lambda server: server.start().pid, servers))

    assert len(set(pids)) == 1


def test_settings_reach_the_server_and_their_values_are_quoted() -> None:
    """A quote or a backslash in a value is a character like others."""
    settings: dict[str, int | str | bool] = {
        "max_connections": 17,
        "cluster_name": "it's \\ one",
        "fsync": True,
    }
    with EmbeddedServer(version=VERSION, durable=False, settings=settings) as server:
        with psycopg.connect(server.dsn(), connect_timeout=20) as conn:
            row = conn.execute(
                "select current_setting('max_connections'), current_setting('cluster_name'),"
                " current_setting('fsync')"
            ).fetchone()

        assert row == ("17", "it's \\ one", "on")


def test_a_long_path_gets_a_socket_elsewhere(short_tmp: Path) -> None:
    """A socket's path has at most 107 bytes; the short directory goes when the server stops."""
    server = EmbeddedServer(short_tmp / ("deep" * 30), version=VERSION, durable=False)
    with server:
        socket_dir = server.socket_dir

        assert psql(server.dsn(), "select 1") == "1"
        assert server.data_dir not in socket_dir.parents
    assert not socket_dir.exists()
