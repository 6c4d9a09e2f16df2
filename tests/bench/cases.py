"""The peers' cases: each measurement is a program in the peers' environment, on a new database."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from psycopg.conninfo import conninfo_to_dict

from pgqueue.bench.model import BY_CLIENT, OURS, Aim, Case, Figure, Of, Unavailable, latencies

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pgqueue.bench import BenchSettings
    from pgqueue.bench.stage import Place, Stage

__all__ = ["PEERS", "ROOT", "Peer", "describe", "peer_cases", "prepare"]

ROOT = Path(__file__).resolve().parents[2]
_GRACE_SECONDS = 700.0
_SETUP_SECONDS = 120.0
_CLIENTS = (1, 8)
_TAIL_LINES = 3
_DRAINED_PER_SECOND = 12_000  # were each peer to drain all jobs, and not its share, about


@dataclass(frozen=True, slots=True)
class Peer:
    """
    One system.

    Attributes:
        package: On the package index.
        module: The adapter.
        share: Of the jobs that pgqueue drains: so many that it takes some seconds.
        name: In the report; by default the package.
        times: How many times its rate ours should be, by the name of the case.
        node: Whether the index is npm's: its workers are Node.js.
    """

    package: str
    module: str
    share: float = 1.0
    name: str = ""
    times: Mapping[str, float] = field(default_factory=dict)
    node: bool = False

    @property
    def title(self) -> str:
        """In the report."""
        return self.name or self.package


_ONE, _FOUR, _BULK = "1 process", "4 processes", "its own way"
PEERS = (
    Peer(OURS, "pgqueue_peer", name=BY_CLIENT),
    Peer("procrastinate", "procrastinate_peer", 0.02, times={_ONE: 75}),
    Peer("pgqueuer", "pgqueuer_peer", 0.5, times={_ONE: 4}),
    Peer("chancy", "chancy_peer", 0.1, times={_ONE: 10}),
    Peer("awa-pg", "awa_peer", 0.25, times={_ONE: 8}),
    Peer("awa-pg", "awa_queue_peer", 0.25, name="awa-pg (queue storage)", times={_ONE: 8}),
    Peer("oban", "oban_peer", 0.1, times={_ONE: 8}),
    Peer("graphile-worker", "graphile_peer", times={_ONE: 1, _FOUR: 1.4, _BULK: 3}, node=True),
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
    if peer.node:
        return Prepared(peer, python, _install_node(environment, peer.package))
    return Prepared(peer, python, _install(python, peer.package))


def peer_cases(prepared: list[Prepared], settings: BenchSettings) -> list[Case]:
    """The cases of every peer; one that could not be installed says so when its turn comes."""
    return [case for one in prepared for case in _cases(one, settings)]


def _cases(one: Prepared, settings: BenchSettings) -> Iterator[Case]:
    seconds = str(settings.seconds)
    for n in _CLIENTS:
        name, command = f"{n} producer{'s' * (n > 1)}", ["enqueue", str(n), seconds]
        yield _case(one, "enqueue", name, command, settings.seconds + 2)
    yield _case(one, "bulk", _BULK, ["bulk", seconds], settings.seconds + 2)
    jobs = max(100, round(settings.jobs * one.peer.share))
    for n in settings.processes:
        name, command = f"{n} process{'es' * (n > 1)}", ["drain", str(jobs), str(n)]
        yield _case(one, "drain", name, command, 3 + settings.jobs / _DRAINED_PER_SECOND)
    command = ["latency", str(settings.latency_jobs), str(settings.warm_seconds)]
    idle = 4 + settings.warm_seconds + settings.latency_jobs * 0.13
    yield _case(one, "latency", "1 idle worker", command, idle)


def _case(one: Prepared, workload: str, name: str, command: list[str], seconds: float) -> Case:
    aims: tuple[Aim, ...] = ()
    if name in one.peer.times:
        aims = (Aim("rate", one.peer.times[name], least=True, of=Of.PEER),)
    elif workload == "latency" and one.peer.name == BY_CLIENT:
        aims = (Aim("p50", 0.5, least=False, of=Of.BEST_PEER),)
    return Case(
        workload=workload,
        name=name,
        measure=partial(_measure, one, command),
        system=one.peer.title,
        schema=False,
        aims=aims,
        seconds=seconds if one.reason is None else 0,
    )


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
        env={**os.environ, "BENCH_PEER_DSN": _url(dsn), "NODE_PATH": str(_packages(one.python))},
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
    needed = re.search(r"Requires-Python (\S+?);?\s", done.stderr)
    if needed is not None:
        return f"{package} needs Python {needed[1]}, this is {platform.python_version()}"
    errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
    return f"pip cannot install {package}: {(errors or [done.stderr.strip()])[-1]}"


def _install_node(environment: Path, package: str) -> str | None:
    """Install with npm, beside what pip installed; the reason if that fails."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        return f"{package} needs Node.js and npm, which are not here"
    into = _packages(environment / "bin" / "python").parent
    into.mkdir(exist_ok=True)
    done = subprocess.run(
        ["npm", "install", "--no-fund", "--no-audit", "--prefix", into, package],  # noqa: S607
        capture_output=True,
        text=True,
        timeout=_GRACE_SECONDS,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode == 0:
        return None
    return f"npm cannot install {package}: {done.stderr.strip().splitlines()[-1]}"


def _packages(python: Path) -> Path:
    """Where npm puts its packages, in the peers' environment."""
    return python.parents[1] / "node" / "node_modules"


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
