"""
pgqueue: a job queue on PostgreSQL.

Jobs are rows, the queue's rules are SQL functions, and workers are thin: declare handlers with
`@job`, and run them with `pgqueue worker --app your.module`.

Names are imported when they are first used: the database driver takes 0.3 s to load, which
`pgqueue --help` and a test run that uses only the pytest plugin need not wait for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pgqueue.calls import BatchStatus, Enqueued, JobStatus, NewJob, new_job
    from pgqueue.client import AsyncClient, Client
    from pgqueue.context import JobContext
    from pgqueue.definition import Backoff, JobDefinition
    from pgqueue.errors import (
        BadSignalToken,
        BatchNotFound,
        ConfigurationError,
        DatabaseUnavailable,
        IllegalStatus,
        InsufficientFunds,
        InvalidArgument,
        JobNotFound,
        JobTypeDisabled,
        LeaseLost,
        NotPrimary,
        PayloadError,
        PayloadMismatch,
        PermissionDenied,
        PgqueueError,
        QuotaExceeded,
        ResultNotSerializable,
        SchemaMismatch,
        UndecodablePayload,
        UniqueKeyTaken,
        UnknownJobType,
        UseFunction,
        WaitTimeout,
        WorkerGone,
    )
    from pgqueue.outcomes import Cancel, Fail, Outcome, Retry, Snooze, WaitFor
    from pgqueue.registry import Registry, job, load_app
    from pgqueue.result import JobError, JobResult, Metrics
    from pgqueue.schedule import Schedule
    from pgqueue.signals import Signal
    from pgqueue.worker import Worker, WorkerSettings, run_supervised

__all__ = [
    "AsyncClient",
    "Backoff",
    "BadSignalToken",
    "BatchNotFound",
    "BatchStatus",
    "Cancel",
    "Client",
    "ConfigurationError",
    "DatabaseUnavailable",
    "Enqueued",
    "Fail",
    "IllegalStatus",
    "InsufficientFunds",
    "InvalidArgument",
    "JobContext",
    "JobDefinition",
    "JobError",
    "JobNotFound",
    "JobResult",
    "JobStatus",
    "JobTypeDisabled",
    "LeaseLost",
    "Metrics",
    "NewJob",
    "NotPrimary",
    "Outcome",
    "PayloadError",
    "PayloadMismatch",
    "PermissionDenied",
    "PgqueueError",
    "QuotaExceeded",
    "Registry",
    "ResultNotSerializable",
    "Retry",
    "Schedule",
    "SchemaMismatch",
    "Signal",
    "Snooze",
    "UndecodablePayload",
    "UniqueKeyTaken",
    "UnknownJobType",
    "UseFunction",
    "WaitFor",
    "WaitTimeout",
    "Worker",
    "WorkerGone",
    "WorkerSettings",
    "job",
    "load_app",
    "new_job",
    "run_supervised",
]

_HOMES = {
    "AsyncClient": "pgqueue.client",
    "Backoff": "pgqueue.definition",
    "BadSignalToken": "pgqueue.errors",
    "BatchNotFound": "pgqueue.errors",
    "BatchStatus": "pgqueue.calls",
    "Cancel": "pgqueue.outcomes",
    "Client": "pgqueue.client",
    "ConfigurationError": "pgqueue.errors",
    "DatabaseUnavailable": "pgqueue.errors",
    "Enqueued": "pgqueue.calls",
    "Fail": "pgqueue.outcomes",
    "IllegalStatus": "pgqueue.errors",
    "InsufficientFunds": "pgqueue.errors",
    "InvalidArgument": "pgqueue.errors",
    "JobContext": "pgqueue.context",
    "JobDefinition": "pgqueue.definition",
    "JobError": "pgqueue.result",
    "JobNotFound": "pgqueue.errors",
    "JobResult": "pgqueue.result",
    "JobStatus": "pgqueue.calls",
    "JobTypeDisabled": "pgqueue.errors",
    "LeaseLost": "pgqueue.errors",
    "Metrics": "pgqueue.result",
    "NewJob": "pgqueue.calls",
    "NotPrimary": "pgqueue.errors",
    "Outcome": "pgqueue.outcomes",
    "PayloadError": "pgqueue.errors",
    "PayloadMismatch": "pgqueue.errors",
    "PermissionDenied": "pgqueue.errors",
    "PgqueueError": "pgqueue.errors",
    "QuotaExceeded": "pgqueue.errors",
    "Registry": "pgqueue.registry",
    "ResultNotSerializable": "pgqueue.errors",
    "Retry": "pgqueue.outcomes",
    "Schedule": "pgqueue.schedule",
    "SchemaMismatch": "pgqueue.errors",
    "Signal": "pgqueue.signals",
    "Snooze": "pgqueue.outcomes",
    "UndecodablePayload": "pgqueue.errors",
    "UniqueKeyTaken": "pgqueue.errors",
    "UnknownJobType": "pgqueue.errors",
    "UseFunction": "pgqueue.errors",
    "WaitFor": "pgqueue.outcomes",
    "WaitTimeout": "pgqueue.errors",
    "Worker": "pgqueue.worker",
    "WorkerGone": "pgqueue.errors",
    "WorkerSettings": "pgqueue.worker",
    "job": "pgqueue.registry",
    "load_app": "pgqueue.registry",
    "new_job": "pgqueue.calls",
    "run_supervised": "pgqueue.worker",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
