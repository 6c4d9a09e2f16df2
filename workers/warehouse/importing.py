"""
bulk_import: a file of products or stock levels, row by row, whatever its size.

Memory does not grow with the file: lines go through the checks into COPY, a chunk is one
transaction, and its checkpoint says where the next attempt goes on.
"""

from __future__ import annotations

from contextlib import ExitStack
from itertools import islice
from typing import IO, TYPE_CHECKING, Literal

from pgqueue import Backoff, Fail, JobContext, job

from .checkpoint import Checkpoint, ImportReport, Place, opened
from .download import downloaded
from .kinds import KINDS
from .rows import Lines, read_header, read_rows
from .settings import Settings, tenant_of
from .sources import local_file, scanned

if TYPE_CHECKING:
    from .rows import Format
    from .sources import Source

_SUFFIXES: dict[str, Format] = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}


# A process of its own: reading is work for a CPU, and what hangs can be killed.
@job(
    "bulk_import",
    retries=9,
    timeout=3600,
    isolation="process",
    backoff=Backoff(base=1, factor=2, cap=300),
)
def bulk_import(
    ctx: JobContext,
    kind: Literal["products", "stock_levels"],
    path: str | None = None,
    url: str | None = None,
    format: Literal["csv", "jsonl"] | None = None,  # noqa: A002  # the payload's name for it
) -> ImportReport:
    """
    Import a file; rows that are wrong are reported, the rest is taken.

    Args:
        ctx: The run.
        kind: What is in the file.
        path: A file in the tenant's folder.
        url: Or where to fetch it.
        format: CSV or JSON Lines; by default what the name ends with.
    """
    settings = Settings.read()
    name = path or url
    if name is None or (path and url):
        raise Fail("name a path or a url, and one of them", code="bad_source")
    form = format or _format_of(name)
    with ExitStack() as stack:
        file = _file(stack, settings, ctx, path=path, url=url)
        source = scanned(file, bytes_max=settings.file_bytes_max)
        checkpoint = stack.enter_context(
            opened(ctx, kind, source=name[:1000], fingerprint=source.fingerprint)
        )
        if not checkpoint.place.done:
            _import(ctx, settings, source, checkpoint, kind, form)
        return checkpoint.report(ctx)


def _file(
    stack: ExitStack, settings: Settings, ctx: JobContext, *, path: str | None, url: str | None
) -> IO[bytes]:
    tenant = tenant_of(ctx)
    if path is not None:
        return stack.enter_context(local_file(settings, tenant, path))
    assert url is not None
    return stack.enter_context(downloaded(settings, url))


def _import(
    ctx: JobContext,
    settings: Settings,
    source: Source,
    checkpoint: Checkpoint,
    kind_name: str,
    form: Format,
) -> None:
    kind = KINDS[kind_name]
    lines = Lines(source.file)
    header = read_header(lines, kind) if form == "csv" else []
    begun = checkpoint.place
    if begun.reached:
        ctx.logger.info("goes on behind line %d, where an earlier attempt stopped", begun.line)
        source.file.seek(begun.reached)
        lines.checkpoint, lines.line = begun.reached, begun.line
    rows = read_rows(lines, kind, form, header)

    def place(count: int) -> Place:
        source.check()
        return Place(lines.checkpoint, lines.line, done=count == 0)

    while not checkpoint.place.done:
        ctx.check_cancelled()
        checkpoint.store(kind, islice(rows, settings.chunk_rows), place)
        percent = 100 * checkpoint.place.reached / source.size
        ctx.progress(percent, f"{checkpoint.place.line} lines")


def _format_of(name: str) -> Format:
    for suffix, form in _SUFFIXES.items():
        if name.partition("?")[0].lower().endswith(suffix):
            return form
    raise Fail(
        "the name ends neither with .csv nor with .jsonl: say `format`",
        code="unknown_format",
        item=name[:1000],
    )
