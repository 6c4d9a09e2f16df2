"""
Every error that pgqueue raises on purpose.

    PgqueueError                        SQLSTATE  exit code
    ├── LeaseLost                       PQ001     4
    ├── IllegalStatus                   PQ002     4
    ├── JobNotFound                     PQ003     3
    ├── WorkerGone                      PQ004     4
    ├── UniqueKeyTaken                  PQ005     4
    ├── InvalidArgument                 PQ006     2   9 where PostgreSQL refused the value
    ├── UseFunction                     PQ007     4
    ├── QuotaExceeded                   PQ008     4
    ├── BatchNotFound                   PQ010     3
    ├── BadSignalToken                  PQ011     5
    ├── InsufficientFunds               PQ009     4   workers.metering
    ├── PermissionDenied                42501     5
    ├── UnknownJobType                  23514     3   at insert, or no handler here
    ├── JobTypeDisabled                 23514     4   at insert
    ├── SchemaMismatch                  -         6
    ├── NotPrimary                      25006     7
    ├── DatabaseUnavailable             -         7   also class 08 and 57P01 to 57P03
    ├── ConfigurationError              -         2
    ├── WaitTimeout                     -         8
    ├── PayloadError                    -         9   never retried: the same payload fails again
    │   ├── PayloadMismatch             -         9
    │   └── UndecodablePayload          -         9
    └── ResultNotSerializable           -         9

`code` is the stable name that a job's structured errors carry. sql/functions/base.sql defines the
SQLSTATEs; 23514 is told apart by its constraint, jobs_job_type_known or jobs_job_type_enabled;
any other CHECK of ours is an InvalidArgument.
Messages name fields and types, never the values of a payload: they reach logs and views.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import psycopg

from pgqueue.constraints import IN_WORDS

if TYPE_CHECKING:
    from collections.abc import Iterable
    from uuid import UUID

__all__ = [
    "BadSignalToken",
    "BatchNotFound",
    "ConfigurationError",
    "DatabaseUnavailable",
    "IllegalStatus",
    "InsufficientFunds",
    "InvalidArgument",
    "JobNotFound",
    "JobTypeDisabled",
    "LeaseLost",
    "NotPrimary",
    "PayloadError",
    "PayloadMismatch",
    "PermissionDenied",
    "PgqueueError",
    "QuotaExceeded",
    "ResultNotSerializable",
    "SchemaMismatch",
    "UndecodablePayload",
    "UniqueKeyTaken",
    "UnknownJobType",
    "UseFunction",
    "WaitTimeout",
    "WorkerGone",
    "from_psycopg",
]

PROBLEMS_MAX = 10
REFUSED_EXIT_CODE = 9  # as PayloadError's: what was given is well-formed, and cannot be stored


class PgqueueError(Exception):
    """
    The root: catch this to catch everything that pgqueue raises on purpose.

    Args:
        message: What was wrong, and with which job or file.
        hint: What to do about it.
        job_id: The job, where there is one.
    """

    sqlstate: ClassVar[str | None] = None
    code: ClassVar[str] = "pgqueue_error"
    exit_code: ClassVar[int] = 1

    # One positional argument, the rest keyword-only: errors cross process boundaries by pickle,
    # which calls cls(*args) and then restores __dict__.
    def __init__(
        self, message: str, *, hint: str | None = None, job_id: UUID | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.job_id = job_id

    def __str__(self) -> str:
        text = self.message
        if self.job_id is not None and str(self.job_id) not in text:
            text = f"job {self.job_id}: {text}"
        return f"{text.rstrip('.')}. {self.hint}" if self.hint else text


class LeaseLost(PgqueueError):
    """Another attempt owns the job, or it finished: roll back and stop."""

    sqlstate = "PQ001"
    code = "lease_lost"
    exit_code = 4


class IllegalStatus(PgqueueError):
    """The job's status does not allow this."""

    sqlstate = "PQ002"
    code = "illegal_status"
    exit_code = 4


class JobNotFound(PgqueueError):
    """No such job, or it belongs to another tenant."""

    sqlstate = "PQ003"
    code = "job_not_found"
    exit_code = 3


class WorkerGone(PgqueueError):
    """This worker is unknown, stopped or declared dead: stop its handlers and register again."""

    sqlstate = "PQ004"
    code = "worker_gone"
    exit_code = 4


class UniqueKeyTaken(PgqueueError):
    """Another unfinished job holds the unique key."""

    sqlstate = "PQ005"
    code = "unique_key_taken"
    exit_code = 4


class InvalidArgument(PgqueueError):
    """An argument makes no sense; the message names it."""

    sqlstate = "PQ006"
    code = "invalid_argument"
    exit_code = 2


class UseFunction(PgqueueError):
    """A direct write to a table that only functions move; the hint names the right function."""

    sqlstate = "PQ007"
    code = "use_function"
    exit_code = 4


class QuotaExceeded(PgqueueError):
    """The tenant has as many jobs waiting, or as much payload, as it may: try again later."""

    sqlstate = "PQ008"
    code = "quota_exceeded"
    exit_code = 4


class BatchNotFound(PgqueueError):
    """No such batch, or it belongs to another tenant."""

    sqlstate = "PQ010"
    code = "batch_not_found"
    exit_code = 3


class BadSignalToken(PgqueueError):
    """Not a token that pgqueue.signal_token() made, or one for another job."""

    sqlstate = "PQ011"
    code = "bad_signal_token"
    exit_code = 5


class InsufficientFunds(PgqueueError):
    """The customer cannot pay for the job; nothing was inserted."""

    sqlstate = "PQ009"
    code = "insufficient_funds"
    exit_code = 4


class PermissionDenied(PgqueueError):
    """The role that this connection uses may not do this."""

    sqlstate = "42501"
    code = "permission_denied"
    exit_code = 5


class UnknownJobType(PgqueueError):
    """No handler here, or in strict mode no row in pgqueue.job_types, has this job type."""

    sqlstate = "23514"
    code = "unknown_job_type"
    exit_code = 3


class JobTypeDisabled(PgqueueError):
    """The job type does not accept jobs at present."""

    sqlstate = "23514"
    code = "job_type_disabled"
    exit_code = 4


class SchemaMismatch(PgqueueError):
    """The schema pgqueue is missing, or of a version that this program does not speak."""

    code = "schema_mismatch"
    exit_code = 6


class NotPrimary(PgqueueError):
    """The connection leads to a standby, or to a server in read-only mode."""

    sqlstate = "25006"
    code = "not_primary"
    exit_code = 7


class DatabaseUnavailable(PgqueueError):
    """The server cannot be reached, or is starting, stopping or gone. Worth another try."""

    code = "database_unavailable"
    exit_code = 7


class ConfigurationError(PgqueueError):
    """The program is put together wrongly: a handler, an app or a setting."""

    code = "configuration_error"
    exit_code = 2


class WaitTimeout(PgqueueError, TimeoutError):
    """What was waited for did not happen in time; it may still happen."""

    code = "wait_timeout"
    exit_code = 8


class PayloadError(PgqueueError):
    """The payload cannot be handed to the handler. The job fails at once, without retries."""

    code = "payload_error"
    exit_code = 9


class PayloadMismatch(PayloadError):
    """
    The payload does not fit the handler's parameters.

    Attributes:
        problems: Pairs of dotted path (`items[3].price`) and what is wrong there, at most ten.
        field: The path of the first problem.
    """

    code = "payload_mismatch"

    def __init__(
        self,
        message: str,
        *,
        problems: Iterable[tuple[str, str]] = (),
        hint: str | None = None,
        job_id: UUID | None = None,
    ) -> None:
        super().__init__(message, hint=hint, job_id=job_id)
        self.problems = tuple(problems)[:PROBLEMS_MAX]

    @property
    def field(self) -> str | None:
        """The path of the first problem."""
        return self.problems[0][0] if self.problems else None


class UndecodablePayload(PayloadError):
    """PostgreSQL stores this JSON but Python refuses to load it."""

    code = "undecodable_payload"


class ResultNotSerializable(PgqueueError):
    """
    The handler returned what JSON or jsonb cannot hold.

    Attributes:
        path: Where in the result, such as `result.rows[3]`.
    """

    code = "result_not_serializable"
    exit_code = 9

    def __init__(
        self,
        message: str,
        *,
        path: str | None = None,
        hint: str | None = None,
        job_id: UUID | None = None,
    ) -> None:
        super().__init__(message, hint=hint, job_id=job_id)
        self.path = path


_BY_SQLSTATE: dict[str, type[PgqueueError]] = {
    str(error.sqlstate): error
    for error in (
        LeaseLost,
        IllegalStatus,
        JobNotFound,
        WorkerGone,
        UniqueKeyTaken,
        InvalidArgument,
        UseFunction,
        QuotaExceeded,
        BatchNotFound,
        BadSignalToken,
        InsufficientFunds,
        PermissionDenied,
        NotPrimary,
    )
}
_BY_CONSTRAINT: dict[str, type[PgqueueError]] = {
    "jobs_job_type_known": UnknownJobType,
    "jobs_job_type_enabled": JobTypeDisabled,
    "jobs_unique_key": UniqueKeyTaken,
}
# The roles are missing where the installer had no CREATEROLE: see sql/roles.sql.
GRANT_HINT = (
    "Grant the connecting role what it lacks: pgqueue_producer to enqueue and cancel,"
    " pgqueue_worker to run jobs, pgqueue_viewer to look, pgqueue_operator to look and act; if they"
    " do not exist, an administrator must create them and run `pgqueue migrate` first."
)
_HINTS: dict[type[PgqueueError], str] = {
    PermissionDenied: GRANT_HINT,
    NotPrimary: "Point the DSN at the primary, or add target_session_attrs=read-write to it.",
    SchemaMismatch: "Run `pgqueue migrate`, then `pgqueue doctor`.",
    DatabaseUnavailable: "Check that the server runs and that the DSN (PGQUEUE_DSN) is right.",
}
# 3F000 schema, 42P01 table or view, 42883 function, 42703 column: what an old schema lacks.
_MISSING_OBJECT = frozenset({"3F000", "42P01", "42883", "42703"})
_REFUSED_VALUE = frozenset({"22P05", "22P02", "22003", "22007", "22008"})
_UNAVAILABLE = frozenset({"57P01", "57P02", "57P03"})
# libpq reports this one without an SQLSTATE, when no host of the DSN is a primary.
_STANDBY_MESSAGES = ("session is read-only", "server is in hot standby mode")


def from_psycopg(exc: BaseException, *, job_id: UUID | None = None) -> PgqueueError | None:
    """
    Translate what psycopg raised; None for what is not ours to name.

    Args:
        exc: Any exception; only psycopg's are translated.
        job_id: The job that the failed call was about, for the message.
    """
    if not isinstance(exc, psycopg.Error):
        return None
    kind = _classify(exc)
    if kind is None:
        return None
    refused = kind is InvalidArgument and exc.sqlstate != InvalidArgument.sqlstate
    message = _refusal(exc) if refused else _primary(exc)
    error = kind(message, hint=exc.diag.message_hint or _HINTS.get(kind), job_id=job_id)
    if refused:
        error.exit_code = REFUSED_EXIT_CODE  # type: ignore[misc]
    return error


def _primary(exc: psycopg.Error) -> str:
    return exc.diag.message_primary or str(exc).strip() or type(exc).__name__


def _refusal(exc: psycopg.Error) -> str:
    # DETAIL tells the two kinds of 22P05 apart in every language. It is never shown: that of a
    # CHECK holds the whole row.
    if exc.sqlstate == "22P05" and r"\u0000" in (exc.diag.message_detail or ""):
        return r"a NUL character (\u0000) cannot be stored in jsonb"
    constraint = exc.diag.constraint_name
    message = IN_WORDS.get(constraint or "") or _primary(exc)
    if constraint and constraint not in message:
        message = f"{message} (constraint {constraint})"
    return message


def _classify(exc: psycopg.Error) -> type[PgqueueError] | None:
    state = exc.sqlstate or ""
    if state in _BY_SQLSTATE:
        return _BY_SQLSTATE[state]
    # Not by SQLSTATE class alone: after a crash, a cut connection or a refused one it is None.
    if not state:
        if any(text in str(exc) for text in _STANDBY_MESSAGES):
            return NotPrimary
        return DatabaseUnavailable if isinstance(exc, psycopg.OperationalError) else None
    if state.startswith("08") or state in _UNAVAILABLE:
        return DatabaseUnavailable
    if state in {"23514", "23505", "23503"}:
        return _classify_constraint(exc, state)
    if state in _MISSING_OBJECT and "pgqueue" in (exc.diag.message_primary or ""):
        return SchemaMismatch
    return InvalidArgument if state in _REFUSED_VALUE else None


def _classify_constraint(exc: psycopg.Error, state: str) -> type[PgqueueError] | None:
    kind = _BY_CONSTRAINT.get(exc.diag.constraint_name or "")
    if kind is None and state in {"23514", "23503"} and exc.diag.schema_name == "pgqueue":
        return InvalidArgument
    return kind
