"""`pgqueue run`: one job, here and now, in the foreground."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
from typing import TYPE_CHECKING, Any

import click

from pgqueue import calls, log
from pgqueue.calls.job_status import FINISHED
from pgqueue.cli.base import INTERRUPTED, Command, state
from pgqueue.cli.database import connected
from pgqueue.cli.enqueue import header_option, payload_as_it_is
from pgqueue.cli.job_view import describe, find_job
from pgqueue.cli.output import emit, note
from pgqueue.cli.params import DURATION, JSON_OBJECT
from pgqueue.cli.worker import app_option, hand_dsn_to_handlers, leave, log_options
from pgqueue.errors import IllegalStatus

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from pgqueue.registry import Registry

SHUTDOWN_SECONDS = 2.0  # after Ctrl-C: nobody else waits for this handler


@click.command(
    cls=Command,
    examples=(
        'pgqueue run import_prices \'{"url": "https://example.com/p.csv"}\' --app shop.jobs',
        "pgqueue run nightly_report --app shop.jobs --log-level debug --json",
    ),
)
@click.argument("job_type", metavar="TYPE")
@click.argument("payload", type=JSON_OBJECT, required=False)
@app_option()
@click.option("--timeout", type=DURATION, metavar="DURATION", help="How long it may run.")
@click.option("--tenant", "tenant_id", metavar="TENANT", help="Whose job it is.")
@header_option
@log_options
def run(
    *,
    job_type: str,
    payload: str | None,
    apps: Sequence[str],
    log_level: str,
    log_format: str,
    **options: Any,
) -> None:
    """
    Run one job here, in the foreground, and show how it ended.

    The job is stored, claimed, run and reported like any other, in a queue of its own that no other
    worker listens to, once: it is not retried. Logs go to stderr. Exits with 1 if it fails.
    """
    from pgqueue.registry import Registry  # noqa: PLC0415
    from pgqueue.worker.__main__ import load_apps  # noqa: PLC0415

    log.configure(log_level, json=log_format == "json")
    hand_dsn_to_handlers()
    registry = Registry(", ".join(apps))
    registry.add(load_apps(apps).get(job_type))
    given = {name: value for name, value in options.items() if value is not None}
    queue = f"run-{secrets.token_hex(8)}"  # redrive() knows this form and leaves such jobs
    with connected() as db:
        # First the type: in strict mode an unknown one is refused.
        db.run(calls.register_job_types(registry.registrations()))
        call = calls.enqueue(job_type, queue=queue, max_attempts=1, **given)
        job_id = db.run(call if payload is None else payload_as_it_is(call, payload))
    try:
        _work(registry, queue)
    finally:
        interrupted = _tidy(job_id)
    with connected() as db:
        job = find_job(db, job_id)
    emit(job, describe(job, None))
    failed = job["status"] not in {"succeeded", "partial"}
    leave(INTERRUPTED if interrupted else int(failed))


def _work(registry: Registry, queue: str) -> None:
    from pgqueue.worker import Worker  # noqa: PLC0415
    from pgqueue.worker.__main__ import run_worker  # noqa: PLC0415

    worker = Worker(
        registry,
        dsn=state().dsn,
        queues=(queue,),
        concurrency=1,
        name=f"run-{socket.gethostname()}:{os.getpid()}",
        drain=True,
        shutdown_seconds=SHUTDOWN_SECONDS,
    )
    run_worker(worker)


def _tidy(job_id: UUID) -> bool:
    """Cancel a job that did not finish: no other worker listens. True = it was interrupted."""
    with connected() as db:
        job = find_job(db, job_id)
        if job["status"] in FINISHED:
            return False
        note(f"{job_id} has not finished ({job['status']}): nobody else would run it")
        with contextlib.suppress(IllegalStatus):
            db.run(calls.cancel(job_id, reason="its foreground run ended before it"))
        return bool(job["status"] in {"queued", "running"})
