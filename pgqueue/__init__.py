"""
pgqueue: a job queue on PostgreSQL.

Jobs are rows, the queue's rules are SQL functions, and workers are thin: declare handlers with
`@job`, and run them with `pgqueue worker --app your.module`.
"""

from __future__ import annotations

from pgqueue.context import JobContext
from pgqueue.definition import Backoff, JobDefinition
from pgqueue.errors import (
    ConfigurationError,
    DatabaseUnavailable,
    IllegalStatus,
    InvalidArgument,
    JobNotFound,
    JobTypeDisabled,
    LeaseLost,
    NotPrimary,
    PayloadError,
    PayloadMismatch,
    PermissionDenied,
    PgqueueError,
    ResultNotSerializable,
    SchemaMismatch,
    UndecodablePayload,
    UniqueKeyTaken,
    UnknownJobType,
    UseFunction,
    WaitTimeout,
    WorkerGone,
)
from pgqueue.outcomes import Cancel, Fail, Outcome, Retry, Snooze
from pgqueue.registry import Registry, job, load_app
from pgqueue.result import JobError, JobResult, Metrics

__all__ = [
    "Backoff",
    "Cancel",
    "ConfigurationError",
    "DatabaseUnavailable",
    "Fail",
    "IllegalStatus",
    "InvalidArgument",
    "JobContext",
    "JobDefinition",
    "JobError",
    "JobNotFound",
    "JobResult",
    "JobTypeDisabled",
    "LeaseLost",
    "Metrics",
    "NotPrimary",
    "Outcome",
    "PayloadError",
    "PayloadMismatch",
    "PermissionDenied",
    "PgqueueError",
    "Registry",
    "ResultNotSerializable",
    "Retry",
    "SchemaMismatch",
    "Snooze",
    "UndecodablePayload",
    "UniqueKeyTaken",
    "UnknownJobType",
    "UseFunction",
    "WaitTimeout",
    "WorkerGone",
    "job",
    "load_app",
]
