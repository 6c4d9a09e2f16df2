"""`pgqueue settings`: what holds for every job type that does not say otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from pgqueue.calls import operator as calls
from pgqueue.cli.base import Group
from pgqueue.cli.database import connected
from pgqueue.cli.output import details, emit, shown
from pgqueue.cli.params import DURATION

if TYPE_CHECKING:
    import datetime as dt


@click.group(cls=Group)
def settings() -> None:
    """Show and change the settings of the whole queue system."""


def _show() -> None:
    with connected() as db:
        (row,) = db.view("settings")
    row.pop("only_row", None)
    words = {key: shown(value) for key, value in row.items()}
    if not row["aging"]:
        words["aging"] = "off"
    if row["limited"]:
        words["limited"] = "yes: there are limits, or there were jobs with an ordering key"
    emit(row, details([(key.replace("_", " "), text) for key, text in words.items()]))


@settings.command(examples=("pgqueue settings show", "pgqueue settings show --json"))
def show() -> None:
    """Show the settings."""
    _show()


@settings.command(
    "set",
    examples=("pgqueue settings set --max-attempts 3 --retention 14d",),
)
@click.option(
    "--strict-types/--any-types",
    "strict_job_types",
    default=None,
    help="Whether to refuse jobs of a type that no worker has registered.",
)
@click.option("--max-attempts", type=click.IntRange(1, 10_000), metavar="N", help="Per job.")
@click.option("--backoff-base", type=DURATION, metavar="DURATION", help="Wait before attempt 2.")
@click.option(
    "--backoff-factor",
    type=click.FloatRange(1, 100),
    metavar="FACTOR",
    help="The wait grows by this.",
)
@click.option("--backoff-cap", type=DURATION, metavar="DURATION", help="The longest wait.")
@click.option("--retention", type=DURATION, metavar="DURATION", help="Keep finished jobs so long.")
@click.option(
    "--timeout-grace",
    type=DURATION,
    metavar="DURATION",
    help="After a job's deadline, wait this long before taking it from its worker.",
)
@click.option(
    "--aging",
    type=DURATION,
    metavar="DURATION",
    help="Who has waited so long is claimed with the next higher priority; 0s: nobody is.",
)
def set_(
    *,
    strict_job_types: bool | None,
    max_attempts: int | None,
    backoff_base: dt.timedelta | None,
    backoff_factor: float | None,
    backoff_cap: dt.timedelta | None,
    retention: dt.timedelta | None,
    timeout_grace: dt.timedelta | None,
    aging: dt.timedelta | None,
) -> None:
    """Change settings; what is not named stays. Prints them all."""
    given: dict[str, Any] = {
        "strict_job_types": strict_job_types,
        "max_attempts": max_attempts,
        "backoff_base": backoff_base,
        "backoff_factor": backoff_factor,
        "backoff_cap": backoff_cap,
        "retention": retention,
        "timeout_grace": timeout_grace,
        "aging": aging,
    }
    if all(value is None for value in given.values()):
        raise click.UsageError("Nothing to change: name a setting.")
    with connected() as db:
        db.run(calls.set_settings(**given))
    _show()
