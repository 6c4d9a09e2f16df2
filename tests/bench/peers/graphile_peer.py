"""graphile-worker: its workers are Node.js; jobs are added by the functions that it has in SQL."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg

from tests.bench.peers import protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AsyncExitStack

_PROGRAM = Path(__file__).with_name("graphile_worker.cjs")
_ONE = "select from graphile_worker.add_job('bench', json_build_object('sent', $1::float8))"
_MANY = (
    "select count(*) from graphile_worker.add_jobs(array("
    "select json_populate_recordset(null::graphile_worker.job_spec, $1::json)))"
)
_JOB = {"identifier": "bench", "payload": {"sent": 0}}
_BUSY = "select exists (select from graphile_worker._private_jobs)"
_SETUP_SECONDS = 60


async def _connected(stack: AsyncExitStack) -> asyncpg.Connection[Any]:
    connection = await asyncpg.connect(protocol.DSN)
    stack.push_async_callback(connection.close)
    return connection


def _install() -> str:
    """Install the schema; the package's version."""
    command = ["node", str(_PROGRAM), "setup"]
    subprocess.run(command, check=True, timeout=_SETUP_SECONDS)
    package = Path(os.environ["NODE_PATH"], "graphile-worker", "package.json")
    return str(json.loads(package.read_text("utf-8"))["version"])


class GraphilePeer:
    """See `protocol.Peer`."""

    module = "tests.bench.peers.graphile_peer"
    bulk_jobs = 1_000

    async def setup(self) -> dict[str, str]:
        """Install."""
        told = "24 concurrent jobs, local queue of 500, completions in batches; jobs deleted"
        return {"version": await asyncio.to_thread(_install), "settings": told}

    async def producer(self, stack: AsyncExitStack) -> Callable[[float], Awaitable[Any]]:
        """`add_job`."""
        connection = await _connected(stack)
        return lambda sent: connection.execute(_ONE, sent)

    async def bulk(self, stack: AsyncExitStack) -> Callable[[int], Awaitable[Any]]:
        """`add_jobs`, of what its Node.js client sends."""
        statement = await (await _connected(stack)).prepare(_MANY)
        return lambda count: statement.fetchval(json.dumps([_JOB] * count))

    async def unfinished(self, stack: AsyncExitStack) -> Callable[[], Awaitable[bool]]:
        """By the table: finished jobs are deleted from it."""
        statement = await (await _connected(stack)).prepare(_BUSY)

        async def look() -> bool:
            return bool(await statement.fetchval())

        return look

    async def work(self) -> None:
        """One worker, in place of this process."""
        os.execlp("node", "node", _PROGRAM, "work")  # noqa: S606, S607  # as the user finds it


if __name__ == "__main__":
    protocol.main(GraphilePeer())
