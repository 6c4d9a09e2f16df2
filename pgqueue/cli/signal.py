"""`pgqueue signal`: tell a job what it waits for."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import click

from pgqueue import calls
from pgqueue.cli.base import Command
from pgqueue.cli.database import connected
from pgqueue.cli.output import emit
from pgqueue.cli.params import JOB_ID, JSON_OBJECT

if TYPE_CHECKING:
    from uuid import UUID


@click.command(
    cls=Command,
    examples=(
        "pgqueue signal 0199c3a2-7d52-7000-8a3b-1f2e3d4c5b6a approved",
        'pgqueue signal 0199c3a2-7d52-7000-8a3b-1f2e3d4c5b6a approved \'{"by": "Ann"}\'',
    ),
)
@click.argument("job_id", type=JOB_ID)
@click.argument("name")
@click.argument("payload", type=JSON_OBJECT, required=False)
def signal(job_id: UUID, name: str, payload: str | None) -> None:
    """
    Send a job a signal; one that waits for it runs.

    NAME is what the job waits for, or a token of pgqueue.signal_token(). The first signal of a name
    counts. PAYLOAD is a JSON object; `-` reads it from stdin, `@file` from a file.
    """
    call = calls.signal(job_id, name)
    # As it is: decoded and encoded again, its numbers would be rounded.
    call = dataclasses.replace(call, params=(job_id, name, payload))
    with connected() as db:
        first = db.run(call)
    told = f"job {job_id} was told" if first else f"job {job_id} was told before: nothing changed"
    emit({"job_id": job_id, "first": first}, told)
