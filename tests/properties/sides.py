"""
What is called, of pgqueue and of the model, and that the two answers agree.

One session in one transaction, rolled back in the end; a refused call is rolled back alone. What
was called is noted as SQL, so that a failure can be replayed in psql on an install with
`tests.support.clock`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar
from uuid import uuid4

import psycopg
from hypothesis import note
from hypothesis.stateful import RuleBasedStateMachine

from tests.properties.model import RETENTION, RefusedError, Worker, World

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable

    from tests.properties.model import Job
    from tests.support.sqljobs import Db

_EPOCH = "timestamptz '2030-01-01 00:00:00+00'"
ZOMBIES = {3, 7}  # as an index: anyone, dead, stale or at whatever status


def _kind(found: Any) -> str:
    """An answer without its particulars."""
    return found if isinstance(found, str) and len(found) < len(str(uuid4())) else "done"


class Sides(RuleBasedStateMachine):
    """See the module; `db` and `seen` are set by the test."""

    db: ClassVar[Db]
    seen: ClassVar[Counter[str]]

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.tokens: list[tuple[str, int]] = []
        self.db.execute("begin")
        self.seen["lives"] += 1
        self.tick()
        self.ask(f"select pgqueue.set_settings(p_retention => '{RETENTION} seconds')")
        self.register(60)

    def teardown(self) -> None:
        """Forget everything."""
        self.seen["key passed on"] += self.world.passed_on
        self.db.execute("rollback")

    # -- The two sides of a call.

    def ask(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """Call pgqueue alone."""
        cursor = psycopg.ClientCursor(self.db)
        text = cursor.mogrify(query, values)
        note(f"{text};")
        with self.db.transaction():
            return cursor.execute(text.encode()).fetchall()

    def both(self, expected: Callable[[], Any], query: str, *values: Any) -> Any:
        """Call both, which must agree: on the value, or on the SQLSTATE."""
        try:
            found: Any = self.ask(query, *values)[0][0]
        except psycopg.Error as error:
            found = error.sqlstate
        try:
            wanted = expected()
        except RefusedError as refused:
            wanted = refused.sqlstate
        self.seen[f"{query.partition('(')[0].rpartition('.')[2]}: {_kind(found)}"] += 1
        assert found == wanted, f"pgqueue says {found!r}, the model {wanted!r}: {query} {values}"
        return found

    def tick(self) -> None:
        """Set pgqueue's clock to the model's."""
        self.ask(
            f"select set_config('pgqueue_test.now',"
            f" ({_EPOCH} + make_interval(secs => {self.world.now}))::text, false)"
        )

    def at(self, seconds: int | None) -> str:
        """That time, as SQL."""
        return "null" if seconds is None else f"({_EPOCH} + make_interval(secs => {seconds}))"

    def pick_job(self, index: int, *statuses: str) -> Job:
        """The newest in one of these, or so; any one now and then."""
        jobs = list(self.world.jobs.values())
        able = jobs if index in ZOMBIES else [job for job in jobs if job.status in statuses] or jobs
        return able[-1 - index % len(able)]

    def pick_worker(self, index: int) -> int:
        """The newest that lives, or so; a zombie now and then."""
        alive = [n for n, worker in self.world.workers.items() if not worker.gone]
        able = list(self.world.workers) if index in ZOMBIES or not alive else alive
        return able[-1 - index % len(able)]

    def pick_token(self, index: int) -> tuple[str, int]:
        """The newest that owns its job, or so; a zombie's now and then."""
        owning = [pair for pair in self.tokens if self.world.owned(*pair)]
        able = self.tokens if index in ZOMBIES or not owning else owning
        return able[-1 - index % len(able)]

    def register(self, lease: int) -> None:
        """One more."""
        call = f"select pgqueue.register_worker('w', p_lease => '{lease} seconds')"
        self.world.workers[self.ask(call)[0][0]] = Worker(lease, self.world.now)
