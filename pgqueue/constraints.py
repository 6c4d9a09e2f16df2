"""
The schema's limits in words: which column, and what it may hold.

PostgreSQL names a violated constraint but not its condition. tests/unit/test_errors.py compares
these with pgqueue.job_limit() in sql/functions/route.sql and with sql/migrations/0001_core.sql.
Those of limits, schedules and hooks come in words from the server: pgqueue.refuse_check().
"""

from __future__ import annotations

_ATTEMPTS = "max_attempts must be from 1 to 10,000"
_BACKOFF_BASE = "backoff_base must be from 1 millisecond to 7 days"
_BACKOFF_CAP = "backoff_cap must be from 1 millisecond to 30 days"
_BACKOFF_FACTOR = "backoff_factor must be from 1 to 100"
_JOB_TYPE = "job_type must have 1 to 100 characters"
_QUEUE = "queue must have 1 to 63 characters"
_RETENTION = "retention must not be negative"
_TENANT = "tenant_id must have 1 to 100 characters"
_TIMEOUT = "timeout must be from 1 millisecond to 30 days"

IN_WORDS: dict[str, str] = {
    "jobs_job_type_check": _JOB_TYPE,
    "jobs_job_type_reserved_check": "job_type must not begin with pgqueue.: such jobs are its own",
    "jobs_queue_check": _QUEUE,
    "jobs_priority_check": "priority must be 0 (high), 1 (normal), 2 (low) or 3 (bulk)",
    "jobs_payload_check": "payload must be a JSON object",
    "jobs_payload_size_check": "payload must have at most 16 MiB as stored (16,777,216 bytes)",
    "jobs_payload_text_check": "payload must have at most 64 MiB as text (67,108,864 bytes)",
    "jobs_run_at_check": "run_at must be a finite time, not infinity",
    "jobs_expires_at_check": "expires_at must be a finite time, not infinity",
    "jobs_max_attempts_check": _ATTEMPTS,
    "jobs_timeout_check": _TIMEOUT,
    "jobs_idempotency_key_check": "idempotency_key must have 1 to 255 characters",
    "jobs_unique_key_check": "unique_key must have 1 to 255 characters",
    "jobs_tenant_id_check": _TENANT,
    "jobs_headers_check": "headers must be a JSON object of at most 64 KiB as stored"
    " (65,536 bytes) and 256 KiB as text (262,144)",
    "jobs_feed_check": "feed must have 1 to 100 characters",
    "jobs_callback_url_check": "callback_url must be http:// or https://, a host, and at most 2,000"
    " printable ASCII characters in all, without user and password",
    "jobs_depends_on_check": "depends_on must name 1 to 10,000 jobs, none of them null",
    "jobs_on_parent_failure_check": "on_parent_failure must be fail or run",
    "jobs_concurrency_key_check": "concurrency_key must have 1 to 255 characters",
    "jobs_ordering_key_check": "ordering_key must have 1 to 255 characters",
    "jobs_ordering_on_failure_check": "ordering_on_failure must be skip or block",
    "jobs_deadline_at_check": "deadline_at must be a finite time, not infinity",
    "job_types_job_type_check": _JOB_TYPE,
    "job_types_queue_check": _QUEUE,
    "job_types_max_attempts_check": _ATTEMPTS,
    "job_types_timeout_check": _TIMEOUT,
    "job_types_backoff_base_check": _BACKOFF_BASE,
    "job_types_backoff_factor_check": _BACKOFF_FACTOR,
    "job_types_backoff_cap_check": _BACKOFF_CAP,
    "job_types_retention_check": _RETENTION,
    "settings_max_attempts_check": _ATTEMPTS,
    "settings_backoff_base_check": _BACKOFF_BASE,
    "settings_backoff_factor_check": _BACKOFF_FACTOR,
    "settings_backoff_cap_check": _BACKOFF_CAP,
    "settings_retention_check": _RETENTION,
    "settings_timeout_grace_check": "timeout_grace must not be negative",
    "settings_aging_check": "aging must be 0 or from 1 second to 365 days",
    "queues_queue_check": _QUEUE,
    "tenants_tenant_id_check": _TENANT,
    "workers_name_check": "name must have 1 to 200 characters",
    "workers_queues_check": "queues must name 1 to 100 queues",
    "workers_lease_check": "lease must be from 500 milliseconds to 1 hour",
    "finished_result_size_check": "result must have at most 16 MiB as stored (16,777,216 bytes)",
    "finished_result_url_check": "result_url must have at most 2,000 characters",
    "job_results_entity_type_check": "entity_type must have 1 to 100 characters",
    "job_results_entity_id_check": "entity_id must have 1 to 255 characters",
}
