"""
What every adapter is asked to do, and how it is measured; the same code for all of them.

    setup                       install the schema; print version and settings
    enqueue CLIENTS SECONDS     one job per transaction; print jobs per second
    bulk SECONDS                as many per call as the system likes; print jobs per second
    drain JOBS PROCESSES        fill, then start workers; print jobs per second, from the first
                                handler's start to the last job's end as the database shows it
    latency JOBS SECONDS        one job at a time to a worker idle for so long; print seconds, from
                                sending to the handler's start

The answer is one line of JSON, the last of stdout. `produce` and `work` are for the children.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import struct
import subprocess
import sys
import tempfile
import time
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

__all__ = ["DSN", "Peer", "first_stamp", "main", "stamp"]

DSN = os.environ.get("BENCH_PEER_DSN", "")  # a URL
_STAMPS = "BENCH_PEER_STAMPS"
_PAIR = struct.Struct("<dd")
_PAUSES = (0.08, 0.16)
_POLL_SECONDS = 0.1
_START_SECONDS = 60.0
_DRAIN_SECONDS = 600.0
_STOP_SECONDS = 10.0


class Peer(Protocol):
    """
    One system.

    Attributes:
        module: Of the adapter, to run it again.
        bulk_jobs: How many jobs one call of `bulk` is given.
    """

    module: str
    bulk_jobs: int

    async def setup(self) -> dict[str, str]:
        """Install the schema; the version, and the settings that were chosen."""
        ...

    async def producer(self, stack: AsyncExitStack) -> Callable[[float], Awaitable[Any]]:
        """Connect; a function that enqueues one job that carries this time."""
        ...

    async def bulk(self, stack: AsyncExitStack) -> Callable[[int], Awaitable[Any]]:
        """Connect; a function that enqueues so many jobs, as fast as the system can."""
        ...

    async def unfinished(self, stack: AsyncExitStack) -> Callable[[], Awaitable[bool]]:
        """Connect; a function that tells whether a job waits or runs."""
        ...

    async def work(self) -> None:
        """Run jobs until killed; the handler calls `stamp` with the job's time."""
        ...


_written: list[int] = []


def stamp(sent: float) -> None:
    """Note a job's start. While draining (time 0) only the first of a process."""
    if sent == 0 and _written:
        return
    if not _written:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        _written.append(os.open(os.environ[_STAMPS], flags, 0o600))
    os.write(_written[0], _PAIR.pack(sent, time.time()))


def first_stamp(path: Path) -> float:
    """When the first handler started."""
    return min(seen for _, seen in _read(path))


def main(peer: Peer) -> None:
    """Do what the command line says."""
    command, *rest = sys.argv[1:]
    try:
        import uvloop  # noqa: PLC0415

        runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
    except ImportError:
        runner = asyncio.Runner()
    with runner:
        answer = runner.run(_do(peer, command, [float(word) for word in rest]))
    print(json.dumps(answer), flush=True)  # noqa: T201  # the answer


async def _do(peer: Peer, command: str, numbers: list[float]) -> Any:
    match command, numbers:
        case "setup", []:
            return await peer.setup()
        case "enqueue", [clients, seconds]:
            return _enqueue(peer, int(clients), seconds)
        case "produce", [clients, seconds]:
            return await _produce(peer, int(clients), seconds)
        case "bulk", [seconds]:
            return await _bulk(peer, seconds)
        case "drain", [jobs, processes]:
            return await _drain(peer, int(jobs), int(processes))
        case "latency", [jobs, warm]:
            return await _latency(peer, int(jobs), float(warm))
        case "work", []:
            return await peer.work()
        case _:
            sys.exit(f"usage: {__doc__}")


def _enqueue(peer: Peer, clients: int, seconds: float) -> float:
    """Share the clients among as many processes as there are cores."""
    processes = min(clients, os.cpu_count() or 1)
    shares = [clients // processes + (n < clients % processes) for n in range(processes)]
    children = [
        subprocess.Popen(
            [sys.executable, "-m", peer.module, "produce", str(share), str(seconds)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for share in shares
    ]
    try:
        answers = [child.communicate(timeout=seconds + _START_SECONDS)[0] for child in children]
    finally:
        _end(children)
    if any(child.returncode for child in children):
        raise RuntimeError("a producer failed")
    return sum(float(answer.splitlines()[-1]) for answer in answers)


async def _produce(peer: Peer, clients: int, seconds: float) -> float:
    async with AsyncExitStack() as stack:
        producers = [await peer.producer(stack) for _ in range(clients)]
        # All processes begin together, about: connecting takes different times.
        began = time.monotonic()
        deadline = began + seconds

        async def produce(once: Callable[[float], Awaitable[Any]]) -> int:
            count = 0
            while time.monotonic() < deadline:
                await once(0)
                count += 1
            return count

        counts = await asyncio.gather(*(produce(once) for once in producers))
        return sum(counts) / (time.monotonic() - began)


async def _bulk(peer: Peer, seconds: float) -> float:
    async with AsyncExitStack() as stack:
        once = await peer.bulk(stack)
        began, count = time.monotonic(), 0
        while time.monotonic() - began < seconds:
            await once(peer.bulk_jobs)
            count += peer.bulk_jobs
        return count / (time.monotonic() - began)


async def _drain(peer: Peer, jobs: int, processes: int) -> float:
    async with AsyncExitStack() as stack:
        fill = await peer.bulk(stack)
        for done in range(0, jobs, peer.bulk_jobs):
            await fill(min(peer.bulk_jobs, jobs - done))
        busy = await peer.unfinished(stack)
        with _workers(peer, processes) as (children, stamps):
            deadline = time.monotonic() + _DRAIN_SECONDS
            while await busy():
                _check(children, deadline)
                await asyncio.sleep(_POLL_SECONDS)
            ended = time.time()
            return jobs / (ended - first_stamp(stamps))


async def _latency(peer: Peer, jobs: int, warm: float) -> list[float]:
    async with AsyncExitStack() as stack:
        once = await peer.producer(stack)
        with _workers(peer, 1) as (children, stamps):
            deadline = time.monotonic() + _START_SECONDS
            while not _read(stamps):
                _check(children, deadline)
                await once(time.time())
                await asyncio.sleep(0.3)
            await asyncio.sleep(warm)
            known = len(_read(stamps))
            for _ in range(jobs):
                await asyncio.sleep(random.uniform(*_PAUSES))  # noqa: S311  # no secret
                await once(time.time())
            deadline = time.monotonic() + _START_SECONDS
            while len(_read(stamps)) < known + jobs:
                _check(children, deadline)
                await asyncio.sleep(_POLL_SECONDS)
            return [seen - sent for sent, seen in _read(stamps)[known:]]


@contextmanager
def _workers(peer: Peer, processes: int) -> Iterator[tuple[list[subprocess.Popen[str]], Path]]:
    with tempfile.TemporaryDirectory(prefix="pgqueue-bench-") as folder:
        stamps, log = Path(folder) / "stamps", Path(folder) / "log"
        with log.open("wb") as written:
            children = [
                subprocess.Popen(
                    [sys.executable, "-m", peer.module, "work"],
                    env={**os.environ, _STAMPS: str(stamps)},
                    stdin=subprocess.DEVNULL,
                    stdout=written,
                    stderr=written,
                    text=True,
                )
                for _ in range(processes)
            ]
            try:
                yield children, stamps
            except BaseException:
                sys.stderr.write(log.read_text("utf-8", "replace")[-2_000:])
                raise
            finally:
                _end(children)


def _check(children: list[subprocess.Popen[str]], deadline: float) -> None:
    if any(child.poll() is not None for child in children):
        raise RuntimeError("a worker ended by itself")
    if time.monotonic() > deadline:
        raise TimeoutError("jobs were not run in time")


def _end(children: list[subprocess.Popen[str]]) -> None:
    for child in children:
        child.terminate()
    for child in children:
        try:
            child.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait(_STOP_SECONDS)


def _read(path: Path) -> list[tuple[float, float]]:
    if not path.exists():
        return []
    data = path.read_bytes()
    return [
        (sent, seen)
        for sent, seen in _PAIR.iter_unpack(data[: len(data) // _PAIR.size * _PAIR.size])
    ]
