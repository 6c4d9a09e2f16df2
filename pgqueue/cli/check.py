"""`pgqueue check`: the SQL of producers, checked before it runs."""

from __future__ import annotations

import dataclasses
from importlib import metadata
from typing import TYPE_CHECKING

import click

from pgqueue.cli.base import Command, state
from pgqueue.cli.output import as_json, counted, emit, note

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgqueue.check import Finding, Known
    from pgqueue.registry import Registry


@click.command(
    cls=Command,
    database=False,
    examples=(
        "pgqueue check src",
        "pgqueue check Orders.cs --app shop.jobs",
        "pgqueue check src --database postgresql://ci@db/shop --strict",
        "pgqueue check src --sarif > pgqueue.sarif",
    ),
)
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@click.option(
    "--app",
    "apps",
    multiple=True,
    metavar="MODULE",
    help="Module that declares handlers: job types and payloads are compared with it; repeatable.",
)
@click.option("--database", metavar="DSN", help="Compare job types and queues with a database.")
@click.option("--sarif", "as_sarif", is_flag=True, help="Print SARIF 2.1.0, for code hosts.")
@click.option("--strict", is_flag=True, help="Exit with 1 for warnings too.")
def check(
    *,
    paths: Sequence[str],
    apps: Sequence[str],
    database: str | None,
    as_sarif: bool,
    strict: bool,
) -> None:
    """
    Check the SQL that producers send to pgqueue.

    Reads .sql files and the string literals of .cs, .java, .py and .ts files, directories with all
    below them, and finds INSERTs, calls and NOTIFYs that would fail or do harm. Nothing of it is
    run. A comment `pgqueue-check: ignore[rule]` on the line or above it silences a finding.

    Exits with 1 if there is an error; --strict counts warnings too.
    """
    from pgqueue.check import check_paths  # noqa: PLC0415
    from pgqueue.check.files import sarif  # noqa: PLC0415

    count, findings = check_paths(paths, _known(apps, database))
    if as_sarif:
        click.echo(as_json(sarif(findings, metadata.version("pgqueue"))))
    else:
        data = {"files": count, "findings": [dataclasses.asdict(one) for one in findings]}
        lines = [text for one in findings for text in _lines(one)]
        if lines or state().json:
            emit(data, "\n".join(lines))
        note(f"{counted(len(findings), 'finding')} in {counted(count, 'file')}")
    if any(one.level == "error" or strict for one in findings):
        raise click.exceptions.Exit(1)


def _lines(finding: Finding) -> tuple[str, str]:
    place = f"{finding.path}:{finding.line}:{finding.column}"
    return f"{place}: {finding.level}[{finding.rule}] {finding.message}", f"    {finding.fix}"


def _known(apps: Sequence[str], database: str | None) -> Known:
    from pgqueue.check import known_of  # noqa: PLC0415
    from pgqueue.connection import connect  # noqa: PLC0415
    from pgqueue.worker.__main__ import load_apps  # noqa: PLC0415

    registry: Registry | None = load_apps(apps) if apps else None
    if database is None:
        return known_of(registry, None)
    with connect(database, application_name="pgqueue check") as connection:
        return known_of(registry, connection)
