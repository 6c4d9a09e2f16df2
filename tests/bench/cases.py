"""The peers' cases: each measurement is a program in the peers' environment, on a new database."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from psycopg.conninfo import conninfo_to_dict

from pgqueue.bench.model import OURS, Case, Figure, Unavailable, latencies

if TYPE_CHECKING:
    from pgqueue.bench import BenchSettings
    from pgqueue.bench.stage import Place, Stage

__all__ = ["PEERS", "Peer", "describe", "peer_cases", "prepare"]

ROOT = Path(__file__).resolve().parents[2]
_GRACE_SECONDS = 700.0
_SETUP_SECONDS = 120.0
_CLIENTS = (1, 8)
_TAIL_LINES = 3


@dataclass(frozen=True, slots=True)
class Peer:
    """
    One system.

    Attributes:
        package: On the package index.
        module: The adapter.
        share: Of the jobs that pgqueue drains: so many that it takes some seconds.
    """

    package: str
    module: str
    share: float = 1.0
    name: str = ""

    @property
    def title(self) -> str:
        """In the report."""
        return self.name or self.package


PEERS = (
    Peer(OURS, "pgqueue_peer", name="pgqueue (Python client)"),
    Peer("procrastinate", "procrastinate_peer", 0.03),
    Peer("pgqueuer", "pgqueuer_peer", 0.3),
    Peer("chancy", "chancy_peer", 0.1),
    Peer("awa-pg", "awa_peer", 0.1),
    Peer("awa-pg", "awa_queue_peer", 0.01, name="awa-pg (queue storage)"),
    Peer("oban", "oban_peer"),
)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A peer that can be run, or the reason why not."""

    peer: Peer
    python: Path
    reason: str | None = None


def prepare(peer: Peer, environment: Path) -> Prepared:
    """
    Install a peer into the peers' environment.

    Args:
        peer: Which.
        environment: The directory of the environment; pip installs there, and nowhere else.
    """
    if peer.package == OURS:
        return Prepared(peer, Path(sys.executable))
    python = environment / "bin" / "python"
    if not (Path(__file__).parent / "peers" / f"{peer.module}.py").exists():
        note = _install(python, peer.package)
        return Prepared(peer, python, note or "it is on the index now: it needs an adapter")
    return Prepared(peer, python, _install(python, peer.package))


def peer_cases(prepared: list[Prepared], settings: BenchSettings) -> list[Case]:
    """The cases of every peer; one that could not be installed says so when its turn comes."""
    found = []
    for one in prepared:
        for workload, name, command in _commands(one.peer, settings):
            measure = partial(_measure, one, command)
            system = one.peer.title
            case = Case(workload=workload, name=name, measure=measure, system=system, schema=False)
            found.append(case)
    return found


def _commands(peer: Peer, settings: BenchSettings) -> list[tuple[str, str, list[str]]]:
    jobs = max(100, round(settings.jobs * peer.share))
    seconds = str(settings.seconds)
    found = [
        ("enqueue", f"{n} producer{'s' * (n > 1)}", ["enqueue", str(n), seconds]) for n in _CLIENTS
    ]
    found.append(("bulk", "its own way", ["bulk", seconds]))
    found += [
        ("drain", f"{jobs:,} jobs, {n} process{'es' * (n > 1)}", ["drain", str(jobs), str(n)])
        for n in settings.processes
    ]
    found.append(("latency", "1 idle worker", ["latency", str(settings.latency_jobs)]))
    return found


def _measure(one: Prepared, command: list[str], stage: Stage) -> list[Figure]:
    if one.reason is not None:
        raise Unavailable(one.reason)
    _run(one, stage.dsn, ["setup"], seconds=_SETUP_SECONDS)
    answer = _run(one, stage.dsn, command, seconds=_GRACE_SECONDS)
    if command[0] == "latency":
        return latencies(answer)
    return [Figure("rate", float(answer), "jobs/s")]


def describe(one: Prepared, place: Place, settings: BenchSettings) -> str:
    """Version and settings, for the head of the report."""
    if one.reason is not None:
        return one.reason
    try:
        with place.stage(settings, None, schema=False) as stage:
            told = _run(one, stage.dsn, ["setup"], seconds=_SETUP_SECONDS)
    except Unavailable as error:
        return str(error)
    return f"{told['version']}: {told['settings']}"


def _run(one: Prepared, dsn: str, command: list[str], *, seconds: float) -> Any:
    """Run an adapter; the last line of its output."""
    process = subprocess.Popen(
        [str(one.python), "-m", f"tests.bench.peers.{one.peer.module}", *command],
        cwd=ROOT,
        env={**os.environ, "BENCH_PEER_DSN": _url(dsn)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"{command[0]} did not end within {seconds:g} s") from error
    finally:
        _end_group(process)
    if process.returncode != 0:
        tail = " / ".join(err.strip().splitlines()[-_TAIL_LINES:])
        raise Unavailable(f"{command[0]} failed: {tail}")
    return json.loads(out.splitlines()[-1])


def _end_group(process: subprocess.Popen[str]) -> None:
    """End what an adapter that was cut short left behind: its group is its own."""
    if process.poll() is None:
        os.killpg(process.pid, 9)
        process.wait(10)


def _install(python: Path, package: str) -> str | None:
    """Install with pip; the reason if that fails."""
    done = subprocess.run(
        [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", package],
        capture_output=True,
        text=True,
        timeout=_GRACE_SECONDS,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode == 0:
        return None
    errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
    return f"pip cannot install {package}: {(errors or [done.stderr.strip()])[-1]}"


def _url(dsn: str) -> str:
    """As a URL, which all of them take; a socket's directory goes into the query."""
    given = {key: str(value) for key, value in conninfo_to_dict(dsn).items()}
    user, password = quote(given.pop("user", ""), ""), quote(given.pop("password", ""), "")
    name = quote(given.pop("dbname", ""), "")
    login = f"{user}:{password}@" if password else f"{user}@" if user else ""
    host = given.pop("host", "localhost")
    port = given.pop("port", "5432")
    if host.startswith("/"):
        return f"postgresql://{login}/{name}?{urlencode({'host': host, 'port': port})}"
    return f"postgresql://{login}{host}:{port}/{name}"
