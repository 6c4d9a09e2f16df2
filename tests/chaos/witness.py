"""
The first witness: what workers and handlers believe, recorded where they speak to the database.

Imported by the worker process and, through the handlers, by its child processes. Outside an arena
(CHAOS_HISTORY unset) nothing is recorded and nothing is replaced.
"""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import psycopg

from pgqueue.errors import DatabaseUnavailable, PgqueueError
from pgqueue.worker import transaction
from pgqueue.worker.link import Link
from tests.chaos.history import Recorder

if TYPE_CHECKING:
    from pgqueue.calls.claimed import TextArray, UuidArray
    from pgqueue.handling import Ending

_numbers = itertools.count(1)
_recorders: dict[int, Recorder] = {}
_COMPLETE = "complete"


def record(f: str, ty: str, **more: Any) -> None:
    """Note one event of this process, whichever process that is by now."""
    directory = os.environ.get("CHAOS_HISTORY")
    if directory is None:
        return
    pid = os.getpid()
    if pid not in _recorders:
        _recorders[pid] = Recorder(Path(directory), os.environ.get("CHAOS_NAME", "worker"))
    _recorders[pid](f, ty, **more)


def install() -> None:
    """Record every call of a worker's links and every transactional run; once per process."""
    if os.environ.get("CHAOS_HISTORY") is None or getattr(Link.call, "witnessed", False):
        return
    _watch_links()
    _watch_transactions()


def _watch_links() -> None:
    call_link = Link.call

    async def call(self: Link, call: Any, **options: Any) -> Any:
        kind = _kind(call.sql)
        if kind is None:
            return await call_link(self, call, **options)
        n = next(_numbers)
        record(kind, "invoke", n=n, **_asked(kind, call.params))
        try:
            answer = await call_link(self, call, **options)
        except DatabaseUnavailable as exc:
            record(kind, "info", n=n, error=str(exc))
            raise
        except (PgqueueError, psycopg.Error) as exc:
            record(kind, "fail", n=n, error=str(exc).partition("\n")[0])
            raise
        except BaseException as exc:
            record(kind, "info", n=n, error=repr(exc))
            raise
        record(kind, "ok", n=n, **_answered(kind, call.params, answer))
        return answer

    call.witnessed = True  # type: ignore[attr-defined]
    Link.call = call  # type: ignore[method-assign]


def _kind(sql: Any) -> str | None:
    for name in ("claim", "exchange", "report", "heartbeat", "release_strays", "stop_worker"):
        if f"pgqueue.{name}(" in str(sql):
            # A claim alone is an exchange that reports nothing.
            return "exchange" if name == "claim" else name
    return None


def _asked(kind: str, params: Any) -> dict[str, Any]:
    match kind:
        case "exchange":
            worker, _, limit, floors, *rest = params
            said = {"worker": worker, "limit": limit, "sweep": floors is None}
            alone = len(rest) == 1
            return {**said, "reports": [] if alone else _reports(*rest)}
        case "report":
            return {"reports": _reports(*params)}
        case _:
            return {"worker": params[0]}


def _reports(
    job_ids: UuidArray, tokens: str, outcomes: TextArray | None
) -> list[tuple[Any, int, str]]:
    ids, numbers = _ids(job_ids), [int(token) for token in tokens.strip("{}").split(",") if token]
    texts = [None] * len(ids) if outcomes is None else _texts(outcomes)
    return [(str(j), t, _does(o)) for j, t, o in zip(ids, numbers, texts, strict=True)]


def _ids(array: UuidArray) -> list[UUID]:
    """What the worker has encoded: a header of 20 bytes, then 4 bytes of length before each id."""
    sent = array.encoded[20:]
    return [UUID(bytes=sent[n + 4 : n + 20]) for n in range(0, len(sent), 20)]


def _texts(array: TextArray) -> list[str | None]:
    """Likewise: a length of -1 is a null."""
    sent, at, found = array.encoded, 20, []
    while at < len(sent):
        length = int.from_bytes(sent[at : at + 4], signed=True)
        at += 4
        found.append(None if length < 0 else sent[at : at + length].decode())
        at += max(length, 0)
    return found


def _does(outcome: str | None) -> str:
    return _COMPLETE if outcome is None else str(json.loads(outcome).get("do", _COMPLETE))


def _answered(kind: str, params: Any, answer: Any) -> dict[str, Any]:
    match kind:
        case "exchange":
            alone = isinstance(answer, list)
            claimed, reported = (answer, []) if alone else (answer.claimed, answer.reported)
            got = [(str(c.job_id), c.token, c.queue, c.priority, c.pos) for c in claimed]
            refused = [r.token for r in reported if r.refused is not None]
            return {"got": got, "refused": refused}
        case "report":
            return {"refused": [r.token for r in answer if r.refused is not None]}
        case "heartbeat":
            return {"worker": params[0], "until": answer.lease_until.timestamp()}
        case _:
            return {"worker": params[0], "released": answer}


def _watch_transactions() -> None:
    run_async, run_sync = transaction.run_async, transaction.run_sync

    async def watched_async(conn: Any, carrier: Any, route: Any, job: Any, **more: Any) -> Ending:
        try:
            ending = await run_async(conn, carrier, route, job, **more)
        except BaseException as exc:
            _ended(job, exc)
            raise
        return _said(job, ending)

    def watched_sync(conn: Any, carrier: Any, route: Any, job: Any, **more: Any) -> Ending:
        try:
            ending = run_sync(conn, carrier, route, job, **more)
        except BaseException as exc:
            _ended(job, exc)
            raise
        return _said(job, ending)

    transaction.run_async, transaction.run_sync = watched_async, watched_sync


def _said(job: Any, ending: Ending) -> Ending:
    code = ending.error.code if ending.error is not None else None
    lost = ending is transaction.LOST
    ty = "fail" if lost or (code is not None and code != "commit_unknown") else "ok"
    ty = "info" if code == "commit_unknown" else ty
    record("transaction", ty, job=str(job.job_id), token=job.token, lost=lost)
    return ending


def _ended(job: Any, exc: BaseException) -> None:
    # Whatever the handler raised has rolled it back. Cancelled at COMMIT: who knows.
    ty = "fail" if isinstance(exc, Exception) else "info"
    record("transaction", ty, job=str(job.job_id), token=job.token, error=repr(exc))
