"""Specs of what races at a gate: claims, ends of attempts, jobs that go away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.races.stepper import END, Run, Spec
from tests.support.sqljobs import claim, column, insert, report, value, worker

if TYPE_CHECKING:
    from tests.support.sqljobs import Db

_CLAIM = "select job_id, token from pgqueue.claim(:by, '{default}', 2)"
_CLAIM_ONE = "select job_id, token from pgqueue.claim(:by, '{default}', 1)"
_COMPLETE = "select pgqueue.complete(:running, :token)"


def _limited(db: Db) -> dict[str, Any]:
    """One runs, two wait, one may run at a time."""
    db.execute("select pgqueue.set_limit('job_type', 't', 1)")
    by = worker(db)
    insert(db)
    (running,) = claim(db, by)
    waiting = [insert(db), insert(db)]
    return {
        "by": by,
        "running": running.job_id,
        "token": running.token,
        "next": waiting[0],
        "order": waiting,
    }


def _parked(db: Db) -> dict[str, Any]:
    """As before, and the two are parked already."""
    values = _limited(db)
    claim(db, values["by"])
    return values


def _free(db: Db) -> dict[str, Any]:
    """Nobody runs, two wait."""
    db.execute("select pgqueue.set_limit('job_type', 't', 1)")
    return {"by": worker(db), "order": [insert(db), insert(db)]}


def _let_out(db: Db) -> dict[str, Any]:
    """Nothing runs; the first of two is let out, the other one parked."""
    values = _parked(db)
    db.execute("select pgqueue.complete(%s, %s)", (values["running"], values["token"]))
    db.execute("select pgqueue.promote()")
    return values


def _ordered(db: Db) -> dict[str, Any]:
    """The first of two of a key runs."""
    by = worker(db)
    insert(db, ordering_key="k")
    (running,) = claim(db, by)
    return {
        "by": by,
        "running": running.job_id,
        "token": running.token,
        "order": [insert(db, ordering_key="k")],
    }


def _at_most_one(run: Run) -> None:
    """Never two at once, and afterwards all get their turn, in order."""
    assert value(run.db, "select count(*) from pgqueue.running") <= 1, "two run at once"
    owned = "select job_id, token from pgqueue.running"
    for job_id, token in run.db.execute(owned).fetchall():
        run.db.execute("select pgqueue.complete(%s, %s)", (job_id, token))
    seen = []
    while jobs := claim(run.db, run.values["by"]):
        assert len(jobs) == 1
        seen += [job.job_id for job in jobs]
        report(run.db, jobs)
    # By the order of the inserts: ids of one millisecond are in none before PostgreSQL 18.
    order = run.values["order"]
    places = [order.index(job) if job in order else len(order) for job in seen]
    assert places == sorted(places), "out of order"
    left = column(
        run.db,
        "select id from pgqueue.jobs j"
        " where not exists (select from pgqueue.finished f where f.job_id = j.id)",
    )
    assert left == [], "somebody still waits"


SPECS = [
    Spec(
        name="claim / claim at a gate",
        setup=_free,
        sessions={
            "a": [f"begin; {_CLAIM_ONE}", END],
            "b": [f"begin; {_CLAIM_ONE}", _CLAIM_ONE, END],
        },
        check=_at_most_one,
        at_least=30,
    ),
    Spec(
        name="park / finish / claim at a gate",
        setup=_limited,
        sessions={
            "a": [f"begin; {_CLAIM}", END],
            "finisher": [f"begin; {_COMPLETE}", END],
            "b": [f"begin; {_CLAIM}", "commit"],
        },
        check=_at_most_one,
        at_least=300,
    ),
    Spec(
        name="finish / claim / cancel at a gate",
        setup=_parked,
        sessions={
            "finisher": [f"begin; {_COMPLETE}", "commit"],
            "worker": [f"begin; {_CLAIM}", END],
            "operator": ["begin; select pgqueue.cancel(:next)", "commit"],
        },
        check=_at_most_one,
        at_least=150,
    ),
    Spec(
        name="let out / claim / cancel",
        setup=_let_out,
        sessions={
            "worker": [f"begin; {_CLAIM}", "commit"],
            "operator": ["begin; select pgqueue.cancel(:next)", END],
            "maintainer": ["begin; select moved from pgqueue.promote()", "commit"],
        },
        check=_at_most_one,
        at_least=150,
    ),
    Spec(
        name="finish / claim / insert of one key",
        setup=_ordered,
        sessions={
            "finisher": [f"begin; {_COMPLETE}", END],
            "worker": [f"begin; {_CLAIM}", "commit"],
            "producer": [
                "begin; insert into pgqueue.jobs (job_type, ordering_key) values ('t', 'k')",
                "commit",
            ],
        },
        check=_at_most_one,
        at_least=150,
    ),
]
