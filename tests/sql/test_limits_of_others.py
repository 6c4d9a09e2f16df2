"""Which claims look closer: those that have picked a job that some limit or order is about."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.costs import ENQUEUE, ENQUEUE_FUNCTION, cost
from tests.support.sqljobs import claim, column, insert, insert_many, value, worker

if TYPE_CHECKING:
    from tests.support.sqljobs import Db

_NAMES = "select limited_names from pgqueue.settings"
_CALLS = """select coalesce(sum(calls), 0)::integer from pg_stat_xact_user_functions
    where schemaname = 'pgqueue' and funcname = %s"""


def _calls(db: Db, name: str, statement: str, *values: object) -> int:
    """How often a statement calls one of our functions."""
    with db.transaction():
        db.execute("set local track_functions = 'all'")
        before = value(db, _CALLS, name)
        db.execute(statement, values)
        return int(value(db, _CALLS, name)) - int(before)


@pytest.mark.parametrize(
    ("given", "times"),
    [
        ({"job_type": "mine"}, 0),
        ({"job_type": "mine", "tenant_id": "a", "unique_key": "k"}, 0),
        ({"job_type": "t"}, 1),
        ({"job_type": "keyed"}, 1),
        ({"job_type": "mine", "queue": "narrow"}, 1),
        ({"job_type": "mine", "ordering_key": "k"}, 1),
    ],
    ids=str,
)
def test_a_claim_looks_closer_only_at_what_a_limit_may_be_about(
    db: Db, given: dict[str, str], times: int
) -> None:
    """By type, queue and flag, for all that it has picked; a job that it starts is started once."""
    for kind, name in (("job_type", "t"), ("key", "keyed"), ("queue", "narrow")):
        db.execute("select pgqueue.set_limit(%s, %s, 5)", (kind, name))
    by = worker(db, ["default", "narrow"])
    insert_many(db, 3, "mine")
    insert(db, **given)
    found = _calls(db, "claim_limited", "select * from pgqueue.claim(%s, p_limit => 10)", by)

    assert found == times
    assert value(db, "select count(*) from pgqueue.running") == 4
    assert column(db, "select problem from pgqueue.verify()") == []


def test_the_settings_name_what_limits_are_about(db: Db) -> None:
    """Each type and queue once; a tenant's limit is about any job; a dropped one is forgotten."""
    seen = []
    for call in (
        "set_limit('job_type', 't', 1)",
        "set_limit('key', 't', 1)",
        "set_limit('queue', 'q', 1)",
        "set_limit('tenant', 'a', 1)",
        "drop_limit('tenant', 'a')",
        "drop_limit('key', 't')",
        "drop_limit('queue', 'q')",
        "drop_limit('job_type', 't')",
    ):
        db.execute(f"select pgqueue.{call}".encode())
        db.execute("select pgqueue.tend_limits()")
        seen.append(value(db, _NAMES))

    assert seen == [["t"], ["t"], ["t", "q"], ["t", "q", "*"], ["q", "t"], ["q", "t"], ["t"], []]


def test_very_many_limits_are_about_any_job(db: Db) -> None:
    """From the 51st name on, and as long as there are so many; each claim looks closer then."""
    for n in range(51):
        db.execute("select pgqueue.set_limit('job_type', %s, 1)", (f"t{n}",))
    db.execute("select pgqueue.tend_limits()")
    many = value(db, _NAMES)
    by = worker(db)
    insert(db, "mine")
    calls = _calls(db, "claim_limited", "select * from pgqueue.claim(%s)", by)
    db.execute("select pgqueue.drop_limit('job_type', 't7')")
    db.execute("select pgqueue.tend_limits()")

    assert many == ["*"]
    assert calls == 1
    assert len(value(db, _NAMES)) == 50


@pytest.mark.parametrize("forged", ["a row", "nonsense"])
def test_nobody_else_says_what_a_claim_has_picked(db: Db, forged: str) -> None:
    """A setting that a session has made itself, for a row of another queue, hands out nothing."""
    db.execute("select pgqueue.set_limit('job_type', 't', 5)")
    insert(db, "mine", queue="other")
    place = value(db, "select array_agg(ctid)::text from pgqueue.ready")
    by = worker(db)
    given = place if forged == "a row" else forged
    db.execute("select set_config('pgqueue.to_weigh', %s, false)", (given,))
    jobs = claim(db, by, 10, queues=["default"])

    assert jobs == []
    assert value(db, "select count(*) from pgqueue.ready") == 1


def test_two_claims_of_one_transaction_pick_for_themselves(db: Db) -> None:
    """What the first has handed on is not what the second has picked."""
    db.execute("select pgqueue.set_limit('job_type', 't', 1)")
    insert_many(db, 2)
    by = worker(db)
    with db.transaction():
        counts = [len(claim(db, by, 2)) for _ in range(2)]
        insert(db, "mine")
        counts.append(len(claim(db, by, 2)))

    assert counts == [1, 0, 1]
    assert column(db, "select problem from pgqueue.verify()") == []


@pytest.mark.parametrize(
    ("tenant", "times"), [(None, 0), ("b", 0), ("a", 1)], ids=["no tenant", "another", "its own"]
)
def test_an_insert_beside_a_quota_of_others_checks_none(
    db: Db, tenant: str | None, times: int
) -> None:
    """Nor does one of a tenant that has none."""
    db.execute("select pgqueue.set_tenant_quota('a', 5)")
    found = _calls(
        db,
        "check_quota",
        "insert into pgqueue.jobs (job_type, tenant_id) values ('mine', %s)",
        tenant,
    )

    assert found == times


def test_an_insert_without_a_tenant_reads_no_more_beside_a_quota(db: Db) -> None:
    """The trigger ends before it looks anything up."""
    db.execute(ENQUEUE_FUNCTION)
    db.execute("select pgqueue.set_job_type('t')")
    before = min(cost(db, ENQUEUE, 1, "t")[0].buffers for _ in range(5))
    db.execute("select pgqueue.set_tenant_quota('a', 5)")
    after = min(cost(db, ENQUEUE, 1, "t")[0].buffers for _ in range(5))

    assert after == before
