"""What all commands share: the classes, the options --dsn and --json, and how errors end."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

import click
import psycopg

from pgqueue.cli.terminal import printable
from pgqueue.errors import PgqueueError, from_psycopg

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

INTERRUPTED = 130  # as a shell reports a program that SIGINT ended


@dataclass(slots=True)
class State:
    """What the options that every command takes were set to."""

    dsn: str | None = None
    json: bool = False


def state() -> State:
    """The state of the running command; the defaults outside of one."""
    context = click.get_current_context(silent=True)
    return State() if context is None else context.find_root().ensure_object(State)


def message_of(error: PgqueueError) -> str:
    """What was wrong and with which job, without the hint: that has a line of its own."""
    if error.job_id is None or str(error.job_id) in error.message:
        return error.message
    return f"job {error.job_id}: {error.message}"


def for_people(message: str, hint: str | None) -> str:
    """An error as all commands print it: a line that says what, and one what to do about it."""
    return f"Error: {message}\nHint: {hint}" if hint else f"Error: {message}"


class Failure(click.ClickException):
    """
    An expected error on its way out: a message on stderr and an exit code, no traceback.

    With --json, stderr gets one JSON object.

    Args:
        message: What was wrong.
        hint: What to do about it.
        code: The stable name, as in `pgqueue.errors`.
        exit_code: The process's.
    """

    def __init__(
        self, message: str, *, hint: str | None = None, code: str = "failed", exit_code: int = 1
    ) -> None:
        super().__init__(message)
        self.hint = hint
        self.code = code
        self.exit_code = exit_code  # type: ignore[misc]
        # Asked now: the context is gone when the message is shown.
        self._json = state().json

    @classmethod
    def of(cls, error: PgqueueError) -> Failure:
        """Wrap one of our errors; it knows its exit code."""
        return cls(message_of(error), hint=error.hint, code=error.code, exit_code=error.exit_code)

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the message."""
        if self._json:
            told = {"code": self.code, "message": self.message, "hint": self.hint}
            click.echo(json.dumps({"error": told}, ensure_ascii=False), file=file, err=True)
            return
        click.echo(printable(for_people(self.message, self.hint)), file=file, err=True)


def _remember_dsn(context: click.Context, _: click.Parameter, value: str | None) -> None:
    if value is not None:
        context.find_root().ensure_object(State).dsn = value


def _remember_json(context: click.Context, _: click.Parameter, value: bool) -> None:  # noqa: FBT001
    if value:
        context.find_root().ensure_object(State).json = True


def dsn_option() -> click.Option:
    """--dsn; on the program and on every command that connects."""
    return click.Option(
        ["--dsn"],
        metavar="DSN",
        expose_value=False,
        is_eager=True,
        callback=_remember_dsn,
        help="Conninfo string or URL of the database; default PGQUEUE_DSN, then libpq's PG*.",
    )


def json_option() -> click.Option:
    """--json; on the program and on every command that prints data."""
    return click.Option(
        ["--json"],
        is_flag=True,
        expose_value=False,
        is_eager=True,
        callback=_remember_json,
        help="Print JSON on stdout, and nothing else there.",
    )


class Command(click.Command):
    """
    A command with --dsn, --json and examples in its help.

    Args:
        examples: Command lines, shown at the end of the help.
        database: False for a command that needs no database: no --dsn.
        data: False for a command that prints no data: no --json.
    """

    def __init__(
        self,
        *args: Any,
        examples: Sequence[str] = (),
        database: bool = True,
        data: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.examples = tuple(examples)
        if database:
            self.params.append(dsn_option())
        if data:
            self.params.append(json_option())

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Print the examples as they are; click would fold them into a paragraph."""
        super().format_epilog(ctx, formatter)
        if self.examples:
            with formatter.section("Examples"):
                for line in self.examples:
                    formatter.write(f"{'':>{formatter.current_indent}}{line}\n")


class Group(click.Group):
    """A group of such commands."""

    command_class = Command
    group_class = type


def handled(call: Callable[[], Any]) -> Any:
    """
    Run a command; turn expected errors into failures.

    Raises:
        Failure: One of our errors, or an error of the server.
        click.exceptions.Exit: Ctrl-C.
    """
    try:
        return call()
    except PgqueueError as error:
        raise Failure.of(error) from error
    except psycopg.Error as error:
        ours = from_psycopg(error)
        if ours is not None:
            raise Failure.of(ours) from error
        message = error.diag.message_primary or str(error).strip() or type(error).__name__
        raise Failure(message, hint=error.diag.message_hint, code="database_error") from error
    except KeyboardInterrupt as error:
        raise click.exceptions.Exit(INTERRUPTED) from error
