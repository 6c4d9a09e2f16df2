"""Everything at once, at random: no deadlock, no odd error, nothing lost."""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import psycopg

from tests.support.sqljobs import claim, column, insert, report, value, worker

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from tests.races.conftest import Open
    from tests.races.sessions import Sessions
    from tests.support.sqljobs import Claimed, Db

_OPERATIONS = 120  # of each actor
_QUEUES = ["a", "b"]
# A key that changed hands, a job that moved, a worker that was stopped: all of them answers.
_EXPECTED = {"PQ001", "PQ002", "PQ003", "PQ004", "PQ005", "PQ007", "23505"}
_OUTCOMES: list[dict[str, Any]] = [
    {},
    {"result": 1},
    {"errors": [{"code": "x"}]},
    {"created": [["A", "1"]], "follow_ups": [{"job_type": "next", "queue": "a"}]},
    {"do": "fail", "retry_after_seconds": 0},
    {"do": "fail", "retryable": False},
    {"do": "snooze", "delay_seconds": 0.001},
    {"do": "release"},
    {"do": "cancel"},
    {"result": "\u0000"},
]


@dataclass(slots=True)
class Actor:
    """One connection and one stream of random choices."""

    db: Db
    draw: random.Random
    codes: Counter[str | None] = field(default_factory=Counter)

    def run(self, actions: list[Callable[[Actor], object]]) -> Counter[str | None]:
        """Do random things; count what the server said."""
        for _ in range(_OPERATIONS):
            action = self.draw.choice(actions)
            try:
                action(self)
            except psycopg.Error as error:
                self.codes[error.sqlstate] += 1
            else:
                self.codes[None] += 1
        return self.codes

    def a_job(self) -> UUID | None:
        """Any job, near the head or anywhere."""
        query = "select id from pgqueue.jobs order by md5(id::text || %s) limit 1"
        found = column(self.db, query, str(self.draw.random()))
        return found[0] if found else None


def _key(actor: Actor) -> str | None:
    return actor.draw.choice([None, "k1", "k2", "k3", "k4", "k5"])


def _insert(actor: Actor) -> None:
    insert(
        actor.db,
        queue=actor.draw.choice(_QUEUES),
        priority=actor.draw.randrange(4),
        run_at=actor.draw.choice([None, "now", "2100-01-01"]),
        unique_key=_key(actor),
        expires_at=actor.draw.choice([None, None, "2001-01-01"]),
        max_attempts=actor.draw.choice([None, 1, 2]),
    )


def _enqueue_many(actor: Actor) -> None:
    jobs = [
        {"job_type": "t", "queue": actor.draw.choice(_QUEUES), "unique_key": _key(actor)}
        for _ in range(actor.draw.randrange(1, 8))
    ]
    mode = actor.draw.choice(["ignore", "replace", "debounce", "merge"])
    actor.db.execute("select * from pgqueue.enqueue_many(%s, %s)", (json.dumps(jobs), mode))


def _work(actor: Actor) -> None:
    by = worker(actor.db, _QUEUES)
    jobs: list[Claimed] = claim(actor.db, by, actor.draw.randrange(1, 12), queues=_QUEUES)
    if actor.draw.random() < 0.1:
        actor.db.execute("select pgqueue.stop_worker(%s)", (by,))
    elif actor.draw.random() < 0.1:
        actor.db.execute(
            "update pgqueue.workers set heartbeat_at = '2001-01-01' where id = %s", (by,)
        )
    for job in jobs[:2]:
        actor.db.execute("select pgqueue.progress(%s, %s, 10)", job.owned)
    report(actor.db, jobs, [actor.draw.choice(_OUTCOMES) for _ in jobs])


def _on_a_job(call: str) -> Callable[[Actor], None]:
    def act(actor: Actor) -> None:
        job_id = actor.a_job()
        if job_id is not None:
            actor.db.execute(call, {"id": job_id})

    return act


def _call(call: str) -> Callable[[Actor], None]:
    def act(actor: Actor) -> None:
        actor.db.execute(call)

    return act


_PRODUCERS: list[Callable[[Actor], object]] = [_insert, _insert, _enqueue_many]
_WORKERS: list[Callable[[Actor], object]] = [_work]
_OPERATORS: list[Callable[[Actor], object]] = [
    _on_a_job("select pgqueue.cancel(%(id)s)"),
    _on_a_job("select pgqueue.retry(%(id)s)"),
    _on_a_job("select pgqueue.reschedule(%(id)s, null)"),
    _on_a_job("select pgqueue.reprioritise(%(id)s, 0)"),
    _on_a_job("""update pgqueue.jobs set payload = '{"n": 1}' where id = %(id)s"""),
    _on_a_job("update pgqueue.jobs set queue = 'b', run_at = '2100-01-01' where id = %(id)s"),
    _on_a_job("delete from pgqueue.jobs where id = %(id)s"),
    _call("select pgqueue.redrive(p_limit => 5)"),
    _call("select pgqueue.purge_queue('b', 5)"),
    _call("select pgqueue.pause_queue('a')"),
    _call("select pgqueue.resume_queue('a')"),
]
_MAINTAINERS: list[Callable[[Actor], object]] = [
    _call("select pgqueue.maintain(20)"),
    _call("select pgqueue.promote(5)"),
    _call("select pgqueue.rescue(5)"),
    _call("select pgqueue.expire(5)"),
    _call("select pgqueue.retain(5)"),
    _call("select pgqueue.merge_stats(20)"),
]


def test_random_load_neither_deadlocks_nor_loses_a_job(
    open_session: Open, sessions: Sessions
) -> None:
    """Twelve actors of four kinds; afterwards every job can be brought to its end."""
    seed = random.randrange(2**32)  # noqa: S311
    db = open_session()
    db.execute("select pgqueue.set_settings(p_retention => '1 s', p_backoff_base => '1 ms')")
    kinds = [_PRODUCERS, _WORKERS, _OPERATORS, _MAINTAINERS] * 3
    actors = [
        Actor(open_session(), random.Random(f"{seed} {n}"))  # noqa: S311
        for n in range(len(kinds))
    ]
    counts = sessions.together(
        [partial(actor.run, kind) for actor, kind in zip(actors, kinds, strict=True)]
    )
    codes: Counter[str | None] = sum(counts, Counter())

    assert {code for code in codes if code is not None} - _EXPECTED == set(), f"seed {seed}"
    assert codes[None] > _OPERATIONS * len(kinds) / 3, f"seed {seed}: {codes}"
    assert column(db, "select problem from pgqueue.verify()") == [], f"seed {seed}"
    assert _drained(db) == 0, f"seed {seed}"


def _drained(db: Db) -> int:
    """Bring everything to its end; what is left over was lost."""
    for queue in _QUEUES:
        db.execute("select pgqueue.resume_queue(%s)", (queue,))
    db.execute("update pgqueue.workers set heartbeat_at = '2001-01-01' where stopped_at is null")
    for _ in range(50):
        db.execute("update pgqueue.scheduled set due_at = '2001-01-01'")
        db.execute("select pgqueue.maintain()")
        report(db, claim(db, worker(db, _QUEUES), 1000, queues=_QUEUES))
    return int(
        value(
            db,
            """select count(*) from pgqueue.jobs j
               where not exists (select from pgqueue.finished f where f.job_id = j.id)""",
        )
    )
