"""export_report: a file that is there whole or not at all, by the same name in each attempt."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Literal
from urllib.parse import quote

from psycopg import sql

from pgqueue import Fail, JobContext, job
from pgqueue.connection import connect
from pgqueue.dsn import Timeouts

from .settings import Settings, folder_of, tenant_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["export_report"]

_COPY = {
    "csv": "copy (select * from warehouse.stock_report({})) to stdout (format csv, header)",
    "jsonl": "copy (select to_json(r) from warehouse.stock_report({}) r) to stdout"
    # As CSV without a quote that JSON could hold: COPY's text format doubles backslashes.
    " (format csv, quote e'\\x01', delimiter e'\\x02')",
}
_SECONDS = 1800.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was written; stored as the job's result."""

    rows: int
    bytes: int


@job("export_report", retries=4, timeout=_SECONDS, isolation="process")
def export_report(
    ctx: JobContext,
    report: Literal["stock"] = "stock",
    format: Literal["csv", "jsonl"] = "csv",  # noqa: A002  # the payload's name for it
) -> Report:
    """
    Write a report of the tenant's stock and say where it is (`result_url`).

    Args:
        ctx: The run.
        report: Which one.
        format: CSV with a header, or JSON Lines.
    """
    settings, tenant = Settings.read(), tenant_of(ctx)
    if settings.report_root is None:
        raise Fail("WAREHOUSE_REPORT_ROOT is not set on this worker", code="bad_setting")
    # The job's id: every attempt writes the same file, and no two jobs do.
    name = f"{report}-{ctx.id}.{format}"
    path = settings.report_root / folder_of(tenant) / name
    statement = sql.SQL(_COPY[format]).format(sql.Literal(tenant))
    with (
        _written(path, ctx.token) as file,
        connect(
            application_name="warehouse export_report",
            timeouts=Timeouts(statement=_SECONDS),
            checked=False,
        ) as connection,
        connection.cursor() as cursor,
    ):
        with cursor.copy(statement) as copy:
            for block in copy:
                ctx.check_cancelled()
                file.write(block)
        rows = cursor.rowcount
    ctx.metrics.processed(rows)
    ctx.result_url = _url(settings, path)
    return Report(rows=rows, bytes=path.stat().st_size)


@contextmanager
def _written(path: Path, token: int) -> Iterator[IO[bytes]]:
    """Write a file beside *path*; rename it when it is complete and on disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # The token: an attempt that was overtaken writes a file of its own.
    partial = path.with_name(f".{path.name}.{token}.partial")
    _forget_killed(path, token)
    try:
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the name, too
    finally:
        os.close(folder)


def _forget_killed(path: Path, token: int) -> None:
    """Remove what attempts before this one left when they were killed."""
    for left in path.parent.glob(f".{path.name}.*.partial"):
        if int(left.name.split(".")[-2]) < token:
            left.unlink(missing_ok=True)


def _url(settings: Settings, path: Path) -> str:
    if not settings.report_url:
        return path.as_uri()
    return f"{settings.report_url}/{quote(path.parent.name)}/{quote(path.name)}"
