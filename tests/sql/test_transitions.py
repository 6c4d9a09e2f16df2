"""Every pair of status and operation: what works, and the SQLSTATE of what does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.support.sqljobs import STATUSES, job_in, status, value, worker

if TYPE_CHECKING:
    from tests.support.sqljobs import Db

# What an operation does to a job: the status afterwards, or the SQLSTATE of the refusal.
# "=" is: nothing happens, and no error. Columns are in the order of STATUSES.
_TABLE = """
operation      scheduled queued    blocked   running   retrying  succeeded partial failed cancelled
claim_job      =         running   =         =         =         =         =       =      =
complete       PQ001     PQ001     PQ001     succeeded PQ001     =         =       PQ001  PQ001
fail           PQ001     PQ001     PQ001     retrying  =         PQ001     PQ001   =      =
fail_for_good  PQ001     PQ001     PQ001     failed    =         PQ001     PQ001   =      =
snooze         PQ001     PQ001     PQ001     scheduled PQ001     PQ001     PQ001   PQ001  =
release        PQ001     PQ001     PQ001     queued    PQ001     PQ001     PQ001   PQ001  =
cancel_running PQ001     PQ001     PQ001     cancelled PQ001     PQ001     PQ001   PQ001  =
progress       PQ001     PQ001     PQ001     =         PQ001     PQ001     PQ001   PQ001  PQ001
extend         PQ001     PQ001     PQ001     =         PQ001     PQ001     PQ001   PQ001  PQ001
cancel         cancelled cancelled cancelled =         cancelled PQ002     PQ002   PQ002  =
retry          queued    PQ002     PQ002     PQ002     queued    queued    queued  queued queued
reschedule     =         scheduled =         PQ002     =         PQ002     PQ002   PQ002  PQ002
run_now        queued    =         =         PQ002     queued    PQ002     PQ002   PQ002  PQ002
reprioritise   =         =         =         PQ002     =         PQ002     PQ002   PQ002  PQ002
set_payload    =         =         =         PQ002     =         PQ002     PQ002   PQ002  PQ002
set_run_at     =         scheduled =         PQ002     =         PQ002     PQ002   PQ002  PQ002
unset_run_at   queued    =         =         PQ002     =         PQ002     PQ002   PQ002  PQ002
set_priority   =         =         =         PQ002     =         PQ002     PQ002   PQ002  PQ002
set_queue      =         =         =         PQ002     =         PQ002     PQ002   PQ002  PQ002
set_expiry     =         =         =         PQ002     =         PQ002     PQ002   PQ002  PQ002
set_id         PQ007     PQ007     PQ007     PQ007     PQ007     PQ007     PQ007   PQ007  PQ007
set_type       PQ007     PQ007     PQ007     PQ007     PQ007     PQ007     PQ007   PQ007  PQ007
set_tenant     PQ007     PQ007     PQ007     PQ007     PQ007     PQ007     PQ007   PQ007  PQ007
set_idem_key   PQ007     PQ007     PQ007     PQ007     PQ007     PQ007     PQ007   PQ007  PQ007
set_unique_key PQ007     PQ007     PQ007     PQ007     PQ007     PQ007     PQ007   PQ007  PQ007
set_created_at PQ007     PQ007     PQ007     PQ007     PQ007     PQ007     PQ007   PQ007  PQ007
delete         PQ007     PQ007     PQ007     PQ007     PQ007     gone      gone    gone   gone
truncate       PQ007     PQ007     PQ007     PQ007     PQ007     PQ007     PQ007   PQ007  PQ007
promote        =         =         =         =         =         =         =       =      =
rescue         =         =         =         =         =         =         =       =      =
expire         =         =         =         =         =         =         =       =      =
"""
_SQL = {
    "claim_job": "select pgqueue.claim_job(%(worker)s, %(id)s)",
    "complete": "select pgqueue.complete(%(id)s, %(token)s)",
    "fail": "select pgqueue.fail(%(id)s, %(token)s, p_retry_after => '1 day')",
    "fail_for_good": "select pgqueue.fail(%(id)s, %(token)s, null, false)",
    "snooze": "select pgqueue.snooze(%(id)s, %(token)s, '1 day')",
    "release": "select pgqueue.release(%(id)s, %(token)s)",
    "cancel_running": "select pgqueue.cancel_running(%(id)s, %(token)s)",
    "progress": "select pgqueue.progress(%(id)s, %(token)s, 50)",
    "extend": "select pgqueue.extend(%(id)s, %(token)s, '1 hour')",
    "cancel": "select pgqueue.cancel(%(id)s)",
    "retry": "select pgqueue.retry(%(id)s)",
    "reschedule": "select pgqueue.reschedule(%(id)s, '2100-02-02')",
    "run_now": "select pgqueue.reschedule(%(id)s, null)",
    "reprioritise": "select pgqueue.reprioritise(%(id)s, 0)",
    "set_payload": """update pgqueue.jobs set payload = '{"n": 1}' where id = %(id)s""",
    "set_run_at": "update pgqueue.jobs set run_at = '2100-02-02' where id = %(id)s",
    "unset_run_at": "update pgqueue.jobs set run_at = null where id = %(id)s",
    "set_priority": "update pgqueue.jobs set priority = 0 where id = %(id)s",
    "set_queue": "update pgqueue.jobs set queue = 'other' where id = %(id)s",
    "set_expiry": "update pgqueue.jobs set expires_at = '2100-02-02' where id = %(id)s",
    "set_id": "update pgqueue.jobs set id = gen_random_uuid() where id = %(id)s",
    "set_type": "update pgqueue.jobs set job_type = 'other' where id = %(id)s",
    "set_tenant": "update pgqueue.jobs set tenant_id = 'other' where id = %(id)s",
    "set_idem_key": "update pgqueue.jobs set idempotency_key = %(id)s where id = %(id)s",
    "set_unique_key": "update pgqueue.jobs set unique_key = %(id)s where id = %(id)s",
    "set_created_at": "update pgqueue.jobs set created_at = '2001-01-01' where id = %(id)s",
    "delete": "delete from pgqueue.jobs where id = %(id)s",
    "truncate": "truncate pgqueue.jobs",
    "promote": "select pgqueue.promote()",
    "rescue": "select pgqueue.rescue()",
    "expire": "select pgqueue.expire()",
}
_HEADER, *_ROWS = [line.split() for line in _TABLE.strip().splitlines()]
_OPERATIONS = {row[0]: dict(zip(_HEADER[1:], row[1:], strict=True)) for row in _ROWS}


def _outcome(db: Db, operation: str, before: str, by: int) -> str:
    """Bring a new job to the status, operate on it, say what came of it."""
    job = job_in(db, before)
    try:
        db.execute(_SQL[operation], {"id": job.job_id, "token": job.token, "worker": by})
    except psycopg.Error as error:
        assert status(db, job.job_id) == before, f"{operation} on {before}: refused, but it moved"
        return error.sqlstate or str(error)
    after = status(db, job.job_id)
    if after == "nowhere":
        return "gone"
    return "=" if after == before else after


def test_the_table_names_every_status_and_operation() -> None:
    """So that a new one cannot be forgotten here."""
    assert tuple(_HEADER[1:]) == STATUSES
    assert set(_OPERATIONS) == set(_SQL)


@pytest.mark.parametrize("before", STATUSES)
def test_each_operation_on_this_status_does_what_the_table_says(db: Db, before: str) -> None:
    """As the schema's owner, whom no grant holds back."""
    by = worker(db)
    found = {operation: _outcome(db, operation, before, by) for operation in _SQL}

    assert found == {operation: row[before] for operation, row in _OPERATIONS.items()}


def test_an_unknown_job_is_named_as_such(db: Db) -> None:
    """PQ003 from the operators' functions, PQ001 from those that need a token."""
    call = {"id": "00000000-0000-4000-8000-000000000000", "token": 1, "worker": 1}
    found = {}
    for operation in (
        "cancel",
        "retry",
        "reschedule",
        "reprioritise",
        "complete",
        "fail",
        "extend",
    ):
        try:
            db.execute(_SQL[operation], call)
        except psycopg.Error as error:
            found[operation] = error.sqlstate

    assert found == {
        "cancel": "PQ003",
        "retry": "PQ003",
        "reschedule": "PQ003",
        "reprioritise": "PQ003",
        "complete": "PQ001",
        "fail": "PQ001",
        "extend": "PQ001",
    }


def test_no_state_table_can_be_truncated(db: Db) -> None:
    """TRUNCATE would lose jobs without a trace; CASCADE is no way around."""
    found = {}
    for table in ("jobs", "ready", "scheduled", "blocked", "running", "finished", "attempts"):
        try:
            db.execute(f"truncate pgqueue.{table} cascade")
        except psycopg.Error as error:
            found[table] = (error.sqlstate, error.diag.message_hint is not None)

    assert set(found.values()) == {("PQ007", True)}
    assert len(found) == 7


def test_each_refusal_names_the_right_function(db: Db) -> None:
    """The hint is for the person who typed the statement."""
    hints = {
        ("set_payload", "running"): "pgqueue.cancel",
        ("delete", "queued"): "pgqueue.cancel",
        ("set_type", "queued"): "pgqueue.cancel",
        ("truncate", "queued"): "pgqueue.purge_queue",
        ("retry", "running"): "pgqueue.why_waiting",
    }
    for (operation, before), wanted in hints.items():
        job = job_in(db, before)
        with pytest.raises(psycopg.Error) as caught:
            db.execute(_SQL[operation], {"id": job.job_id})

        assert wanted in (caught.value.diag.message_hint or "")
    assert value(db, "select count(*) from pgqueue.jobs") == len(hints)
