"""`pgqueue worker`: run the handlers of an application."""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING, Any, NoReturn

import click

from pgqueue import log
from pgqueue.cli.base import Command, state
from pgqueue.cli.params import DURATION

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Sequence

CALLBACK_APP = "pgqueue.callback"
CALLBACK_QUEUE = "callbacks"
LEVELS = ("debug", "info", "warning", "error")


def app_option(*, required: bool = True) -> Callable[[Any], Any]:
    """--app, repeatable."""
    return click.option(
        "--app",
        "apps",
        multiple=True,
        required=required,
        metavar="MODULE",
        help="Module that declares handlers, like shop.jobs or shop.jobs:registry; repeatable.",
    )


def log_options(command: Any) -> Any:
    """--log-level and --log-format; logs go to stderr."""
    command = click.option(
        "--log-format",
        type=click.Choice(("text", "json")),
        default="text",
        show_default=True,
        help="Lines of key=value, or JSON objects.",
    )(command)
    return click.option(
        "--log-level",
        type=click.Choice(LEVELS, case_sensitive=False),
        default="info",
        show_default=True,
        help="The least that is logged, to stderr.",
    )(command)


def hand_dsn_to_handlers() -> None:
    """Let handlers that connect by themselves find the database of --dsn, children included."""
    dsn = state().dsn
    if dsn is not None:
        os.environ["PGQUEUE_DSN"] = dsn


def leave(code: int) -> NoReturn:
    """
    End the process now.

    Args:
        code: Its exit code.
    """
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    # Not sys.exit: a handler's thread that does not end must not hold up the process.
    os._exit(code)


@click.command(
    cls=Command,
    data=False,
    examples=(
        "pgqueue worker --app shop.jobs",
        "pgqueue worker --app shop.jobs --queue mail --queue default --concurrency 20",
        "pgqueue worker --app shop.jobs --processes 4 --log-format json --health-port 8080",
        "pgqueue worker --app shop.jobs --drain",
        "pgqueue worker --app shop.jobs --callbacks",
    ),
)
@app_option(required=False)
@click.option(
    "--queue",
    "queues",
    multiple=True,
    metavar="QUEUE",
    help="Claim from this queue; repeatable; default: default, and none with --callbacks alone.",
)
@click.option(
    "--callbacks",
    is_flag=True,
    help="Deliver callbacks: as --app pgqueue.callback --queue callbacks.",
)
@click.option("--concurrency", type=int, metavar="N", help="Jobs at once per process; default 50.")
@click.option(
    "--processes",
    type=click.IntRange(1, 256),
    default=1,
    show_default=True,
    help="Worker processes; above 1 under a supervisor that restarts what crashes.",
)
@click.option("--name", metavar="NAME", help="In logs and views; default host:pid.")
@click.option(
    "--lease",
    type=DURATION,
    metavar="DURATION",
    help="Silent for so long, it counts as dead; default 20s.",
)
@click.option(
    "--poll-interval",
    type=DURATION,
    metavar="DURATION",
    help="How often to look without being rung; default 5s.",
)
@click.option("--drain", is_flag=True, help="Stop when the queues are empty.")
@click.option(
    "--shutdown-timeout",
    type=DURATION,
    metavar="DURATION",
    help="How long handlers may go on after SIGTERM; default 25s.",
)
@click.option(
    "--health-port",
    type=click.IntRange(1, 65_535),
    metavar="PORT",
    help="Answer GET /live and GET /ready there; with --processes the n-th at PORT + n - 1.",
)
@click.option(
    "--health-host",
    metavar="ADDRESS",
    help="Answer on this address only; default all, as probes from outside need.",
)
@click.option(
    "--pooler",
    type=click.Choice(("auto", "yes", "no")),
    help="Whether a transaction pooler stands in between; auto (default) finds out.",
)
@log_options
def worker(
    *,
    apps: Sequence[str],
    queues: Sequence[str],
    callbacks: bool,
    processes: int,
    log_level: str,
    log_format: str,
    lease: dt.timedelta | None,
    poll_interval: dt.timedelta | None,
    shutdown_timeout: dt.timedelta | None,
    **options: Any,
) -> None:
    """
    Claim jobs and run their handlers, until told to stop.

    SIGTERM or Ctrl-C lets handlers finish for --shutdown-timeout, then gives their jobs back; a
    second signal stops at once. A killed worker loses nothing: its jobs go back after --lease.
    """
    from pgqueue.worker import Worker, WorkerSettings, run_supervised  # noqa: PLC0415
    from pgqueue.worker.__main__ import load_apps, run_worker  # noqa: PLC0415

    if not apps and not callbacks:
        raise click.UsageError("Missing option '--app'.")
    if not queues and apps:
        queues = ("default",)
    if callbacks:
        apps, queues = (*apps, CALLBACK_APP), tuple(dict.fromkeys((*queues, CALLBACK_QUEUE)))
    spans = {
        "lease_seconds": lease,
        "poll_seconds": poll_interval,
        "shutdown_seconds": shutdown_timeout,
    }
    given: dict[str, Any] = {
        name: span.total_seconds() for name, span in spans.items() if span is not None
    }
    given |= {name: value for name, value in options.items() if value is not None}
    settings = WorkerSettings(queues=tuple(queues), **given)
    hand_dsn_to_handlers()
    as_json = log_format == "json"
    log.configure(log_level, json=as_json)
    if processes > 1:
        leave(
            run_supervised(
                apps,
                settings=settings,
                processes=processes,
                dsn=state().dsn,
                log_level=log_level.upper(),
                log_json=as_json,
            )
        )
    leave(run_worker(Worker(load_apps(apps), dsn=state().dsn, settings=settings)))
