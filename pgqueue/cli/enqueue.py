"""`pgqueue enqueue`: one job, or a file of them."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import IO, TYPE_CHECKING, Any, TypeVar, cast, get_args

import click

from pgqueue import calls
from pgqueue.calls.producer import job_row
from pgqueue.cli.base import Command, Failure, message_of
from pgqueue.cli.database import Database, connected
from pgqueue.cli.job_view import describe, find_job
from pgqueue.cli.lines import BadLine, chunks, wrapped
from pgqueue.cli.output import counted, emit, note, progress
from pgqueue.cli.params import DURATION, JOB_ID, JSON_OBJECT, MOMENT, PRIORITY
from pgqueue.errors import PgqueueError

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Sequence
    from uuid import UUID

T = TypeVar("T")
CHUNK = 1_000
_ON_DUPLICATE = get_args(calls.OnDuplicate)


def _headers(
    context: click.Context, parameter: click.Parameter, values: Sequence[str]
) -> dict[str, str] | None:
    headers = {}
    for value in values:
        name, equals, text = value.partition("=")
        if not equals or not name:
            message = f"{value!r} is not NAME=VALUE."
            raise click.BadParameter(message, ctx=context, param=parameter)
        headers[name] = text
    return headers or None


header_option = click.option(
    "--header",
    "headers",
    multiple=True,
    callback=_headers,
    metavar="NAME=VALUE",
    help="Trace context and the like; repeatable.",
)


@click.command(
    cls=Command,
    examples=(
        'pgqueue enqueue import_prices \'{"url": "https://example.com/prices.csv"}\'',
        "pgqueue enqueue import_prices @payload.json --priority high --delay 5m",
        "pgqueue enqueue nightly_report --run-at 2030-01-31T02:00 --unique-key nightly",
        "pgqueue enqueue resize '{\"image\": 7}' --wait --wait-timeout 30s",
        "pgqueue enqueue --many jobs.jsonl",
        "jq -c '.[]' orders.json | pgqueue enqueue create_order --many -",
    ),
)
@click.argument("job_type", metavar="[TYPE]", required=False)
@click.argument("payload", type=JSON_OBJECT, required=False)
@click.option("--queue", metavar="QUEUE", help="Instead of the type's queue.")
@click.option("--priority", type=PRIORITY, help="Default normal.")
@click.option("--run-at", type=MOMENT, metavar="TIME", help="Not before; ISO 8601.")
@click.option("--delay", type=DURATION, metavar="DURATION", help="Not before this long from now.")
@click.option("--expires-at", type=MOMENT, metavar="TIME", help="Do not start after this.")
@click.option("--deadline-at", type=MOMENT, metavar="TIME", help="Finish by this, or fail.")
@click.option("--max-attempts", type=click.IntRange(1, 10_000), help="How often to try.")
@click.option("--timeout", type=DURATION, metavar="DURATION", help="How long a run may take.")
@click.option("--unique-key", metavar="KEY", help="At most one unfinished job has this key.")
@click.option(
    "--idempotency-key", metavar="KEY", help="A second job with this key is the same job."
)
@click.option(
    "--on-duplicate",
    type=click.Choice(_ON_DUPLICATE),
    default="ignore",
    show_default=True,
    help="What to do when an unfinished job has the unique key.",
)
@click.option("--tenant", "tenant_id", metavar="TENANT", help="Whose job it is.")
@header_option
@click.option("--notify", is_flag=True, default=None, help="NOTIFY when it finishes.")
@click.option("--feed", metavar="FEED", help="Hand it out in this feed when it finishes.")
@click.option("--callback-url", metavar="URL", help="Signed POST there when it finishes.")
@click.option(
    "--depends-on",
    type=JOB_ID,
    multiple=True,
    metavar="UUID",
    help="Wait until this job has succeeded; may be repeated.",
)
@click.option(
    "--on-parent-failure",
    type=click.Choice(("fail", "run")),
    help="When such a job has not succeeded: fail too (default), or run.",
)
@click.option("--batch", "batch_id", type=JOB_ID, metavar="UUID", help="Its batch.")
@click.option("--id", "job_id", type=JOB_ID, metavar="UUID", help="Instead of a new id.")
@click.option("--wait", is_flag=True, help="Wait until the job has finished, and show it.")
@click.option("--wait-timeout", type=DURATION, metavar="DURATION", help="With --wait: no longer.")
@click.option(
    "--many",
    type=click.File("r", encoding="utf-8"),
    metavar="FILE",
    help="Enqueue every line of a JSON Lines file; - for stdin.",
)
def enqueue(
    *,
    job_type: str | None,
    payload: str | None,
    wait: bool,
    wait_timeout: dt.timedelta | None,
    many: IO[str] | None,
    on_duplicate: calls.OnDuplicate,
    **options: Any,
) -> None:
    """
    Enqueue a job and print its id.

    PAYLOAD is a JSON object; `-` reads it from stdin, `@file` from a file.

    If an unfinished job has the same --unique-key, that job serves the request and its id is
    printed: ignore leaves it as it is, replace gives it the new payload, debounce the new payload
    and time, merge the contents of both payloads.

    With --many every line is an object with the columns of pgqueue.jobs (job_type, payload, queue,
    priority, ...) or, when TYPE is given, a payload to which the options apply. A thousand jobs go
    in one transaction; an error names its line and how many jobs are in.

    With --wait it exits with 1 when the job failed or was cancelled, and with 8 when --wait-timeout
    passed (the job goes on).
    """
    given = {name: value for name, value in options.items() if value not in (None, ())}
    if many is not None:
        if payload is not None or wait or "job_id" in given:
            raise click.UsageError("--many takes neither a payload nor --wait nor --id.")
        if job_type is None and given:
            raise click.UsageError("Without TYPE, each line says everything: leave out options.")
        _enqueue_many(many, job_type, given, on_duplicate)
        return
    if job_type is None:
        raise click.UsageError("Missing argument 'TYPE'.")
    _enqueue_one(job_type, payload, given, on_duplicate, wait=wait, wait_timeout=wait_timeout)


def _enqueue_one(
    job_type: str,
    payload: str | None,
    options: dict[str, Any],
    on_duplicate: calls.OnDuplicate,
    *,
    wait: bool,
    wait_timeout: dt.timedelta | None,
) -> None:
    call = calls.enqueue(job_type, None, on_duplicate=on_duplicate, **options)
    if payload is not None:
        call = payload_as_it_is(call, payload)
    with connected() as db:
        job_id = db.run(call)
        if not wait:
            emit({"id": job_id}, str(job_id))
            return
        note(f"{job_id} enqueued")
        job = await_job(db, job_id, wait_timeout)
    emit(job, describe(job, None))
    if job["status"] not in {"succeeded", "partial"}:
        raise click.exceptions.Exit(1)


def payload_as_it_is(call: calls.Call[T], payload: str) -> calls.Call[T]:
    """
    Put *payload* into a call of enqueue: decoded and encoded again, its numbers would be rounded.

    Args:
        call: From `calls.enqueue`.
        payload: A JSON object.
    """
    assert isinstance(call.params, dict)
    return dataclasses.replace(call, params={**call.params, "payload": payload})


def await_job(db: Database, job_id: UUID, limit: dt.timedelta | None) -> dict[str, Any]:
    """
    Wait for a job's end; its row of job_status.

    Raises:
        WaitTimeout: It has not finished in time; it goes on.
    """
    seconds = math.inf if limit is None else limit.total_seconds()
    calls.drive(db.run, calls.wait_until_finished(job_id, seconds=seconds))
    return find_job(db, job_id)


def _enqueue_many(
    file: IO[str], job_type: str | None, options: dict[str, Any], on_duplicate: calls.OnDuplicate
) -> None:
    common = None if job_type is None else _common(job_type, options)
    stored = inserted = 0
    with connected() as db, progress(None, "enqueueing") as bar:
        try:
            for first_line, lines in chunks(file, CHUNK):
                texts = lines if common is None else [wrapped(common, line) for line in lines]
                answers = _store(db, texts, on_duplicate, first_line)
                stored += len(answers)
                inserted += sum(answers)
                bar.update(len(answers))
        except BadLine as error:
            raise _stopped(stored, str(error), "invalid_argument", 2) from error
        except PgqueueError as error:
            told = message_of(error)
            raise _stopped(stored, told, error.code, error.exit_code, error.hint) from error
    told = f"{counted(inserted, 'job')} enqueued"
    if stored > inserted:
        told += f", {stored - inserted:,} served by jobs that were there"
    emit({"lines": stored, "inserted": inserted, "duplicates": stored - inserted}, told)


def _stopped(
    stored: int, message: str, code: str, exit_code: int, hint: str | None = None
) -> Failure:
    before = f"The {stored:,} jobs of the chunks before are enqueued." if stored else None
    hint = " ".join(filter(None, (hint, before))) or None
    return Failure(message, hint=hint, code=code, exit_code=exit_code)


def _store(
    db: Database, texts: Iterable[str], on_duplicate: calls.OnDuplicate, first_line: int
) -> list[bool]:
    # Joined as they are, each one known to be a JSON object: see payload_as_it_is.
    call = calls.Call(
        "select inserted from pgqueue.enqueue_many(%s::jsonb, %s) order by n",
        (f"[{','.join(texts)}]", on_duplicate),
        lambda rows: [row[0] for row in rows],
    )
    try:
        return db.run(call)
    except PgqueueError as error:
        error.message = f"a job of the {CHUNK:,} lines from {first_line} on: {error.message}"
        raise


def _common(job_type: str, options: dict[str, Any]) -> str:
    row = job_row(calls.NewJob(job_type, {}, cast("calls.JobOptions", options)))
    del row["payload"]
    return json.dumps(row)
