from __future__ import annotations

import asyncio
import datetime as dt
import uuid
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from pgqueue import calls
from pgqueue.connection import connect_async
from pgqueue.doctor import doctor
from pgqueue.errors import ConfigurationError
from pgqueue.health import Finding, health, health_async, lines, well

if TYPE_CHECKING:
    from collections.abc import Iterable


def named(findings: Iterable[Finding]) -> dict[str, Finding]:
    """By what was checked."""
    return {finding.check: finding for finding in findings}


def register(db: psycopg.Connection[Any], name: str, *, seconds: float = 60) -> int:
    """Register a worker."""
    call = calls.register_worker(
        name,
        queues=["default"],
        job_types=None,
        lease=dt.timedelta(seconds=seconds),
        instance=uuid.uuid4(),
    )
    return calls.run(db, call)


def test_a_fresh_schema_is_well(dsn: str) -> None:
    """Nothing but the settings of a server for tests may fail, and every check has its say."""
    found = named(doctor(dsn, verify=True))

    for check in (
        "server reachable",
        "server version",
        "clocks",
        "notifications",
        "primary with the right schema",
        "schema unchanged since its installation",
        "invariants",
        "encoding",
    ):
        assert found[check].status == "ok", found[check]
    assert found["notifications"].value == "delivered"
    assert found["roles"].value == "all four"
    assert "workers alive" in found
    assert {one.check for one in found.values() if one.status == "fail"} <= {
        "server setting fsync",
        "server setting full_page_writes",
        "server setting synchronous_commit",
    }


def test_a_changed_object_is_named(dsn: str, db: psycopg.Connection[Any]) -> None:
    """With what puts it back."""
    db.execute("alter function pgqueue.verify() volatile")
    found = named(doctor(dsn))["schema unchanged since its installation"]

    assert found.status == "warn"
    assert "function pgqueue.verify() changed" in found.value
    assert "pgqueue migrate" in str(found.hint)


@pytest.mark.breaks_invariants
def test_a_broken_invariant_is_named_when_asked(dsn: str, db: psycopg.Connection[Any]) -> None:
    """Only then: it reads everything."""
    job_id = calls.run(db, calls.enqueue("a"))
    db.execute("set session_replication_role = replica")
    db.execute("delete from pgqueue.ready")

    assert "invariants" not in named(doctor(dsn))
    found = named(doctor(dsn, verify=True))["invariants"]
    assert found.status == "fail"
    assert str(job_id) in found.value


def test_a_missing_schema_ends_the_examination_with_the_command(empty_dsn: str) -> None:
    """The server's own checks still have their say."""
    found = named(doctor(empty_dsn))

    assert found["server version"].status == "ok"
    assert found["primary with the right schema"].status == "fail"
    assert "pgqueue migrate" in str(found["primary with the right schema"].hint)
    assert "workers alive" not in found


def test_a_server_that_is_not_there_is_a_finding_without_the_password() -> None:
    """A DSN that cannot be read is not."""
    (found,) = doctor("host=127.0.0.1 port=1 user=u password=geheim")
    with pytest.raises(ConfigurationError):
        doctor("nonsense")

    assert (found.check, found.status) == ("server reachable", "fail")
    assert "geheim" not in str(found)


def test_the_servers_own_settings_are_judged_not_ours(
    dsn: str, db: psycopg.Connection[Any]
) -> None:
    """Our sessions set their own; producers in other languages do not."""
    name = sql.Identifier(str(conninfo_to_dict(dsn)["dbname"]))
    check = "server setting idle_in_transaction_session_timeout"

    assert named(doctor(dsn))[check].status == "info"
    statement = "alter database {} set idle_in_transaction_session_timeout = '5min'"
    db.execute(sql.SQL(statement).format(name))
    assert named(doctor(dsn))[check].status == "ok"


def test_a_finding_that_is_not_well_is_followed_by_what_to_do() -> None:
    """For people; the exit code follows the failures alone."""
    found = [Finding("a", "ok", "1", "unused"), Finding("b", "warn", "2", "Do this.")]

    assert lines(found) == ["ok      a: 1", "warn    b: 2", "        Do this."]
    assert well(found)
    assert not well([*found, Finding("c", "fail", "3")])


def test_health_is_the_view(db: psycopg.Connection[Any]) -> None:
    """Each row of pgqueue.health is a finding."""
    assert len(health(db)) == len(db.execute("select from pgqueue.health").fetchall())


def test_a_probe_asks_whether_a_worker_of_that_name_lives(db: psycopg.Connection[Any]) -> None:
    """Not registered, alive, stopped."""
    assert not well(health(db, worker="w"))
    worker = register(db, "w")
    assert well(health(db, worker="w"))
    assert "alive" in health(db, worker="w")[0].value
    calls.run(db, calls.stop_worker(worker))
    assert not well(health(db, worker="w"))
    register(db, "w")
    assert well(health(db, worker="w"))


def test_a_probe_asks_how_long_the_oldest_job_has_been_ready(
    dsn: str, db: psycopg.Connection[Any]
) -> None:
    """A paused queue is late on purpose."""

    async def probe(seconds: float) -> list[Finding]:
        conn = await connect_async(dsn)
        async with conn:
            return await health_async(conn, oldest_ready_seconds=seconds)

    assert well(health(db, oldest_ready_seconds=0))
    calls.run(db, calls.enqueue("a"))
    assert not well(health(db, oldest_ready_seconds=0))
    assert well(health(db, oldest_ready_seconds=600))
    assert well(asyncio.run(probe(600)))
    calls.run(db, calls.pause_queue("default"))
    assert well(health(db, oldest_ready_seconds=0))
