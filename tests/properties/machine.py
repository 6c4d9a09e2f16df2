"""Random lives of jobs: which calls are made, in which order, and what must hold after each."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from tests.properties.calls import Calls
from tests.properties.sides import ZOMBIES

_index = st.sampled_from([0, 0, 0, 1, 2, *ZOMBIES])  # counted from the newest
_delay = st.sampled_from([0, 5, 5, 60])
_reports = st.sampled_from(
    ["complete", "complete", "fail", "fail", "snooze", "release", "cancel", "progress"]
)
_LEASE_ENDS = 61  # seconds: one more than the longest lease of a worker
_PRODUCE = st.fixed_dictionaries(
    {
        "v": st.integers(0, 3),
        "delay": st.sampled_from([None, None, None, 0, 5, 60]),
        "priority": st.integers(0, 3),
        "key": st.sampled_from(["a", "a", "a", "b", None]),
        "mode": st.sampled_from(["replace", "replace", "debounce", "merge", "ignore"]),
        "idempotency_key": st.sampled_from([None, None, None, None, "i"]),
        "expires": st.sampled_from([None, None, None, None, 10, 100]),
        "max_attempts": st.sampled_from([None, 1, 2]),
    }
)
_STEPS: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "produce": _PRODUCE,
    "work": st.fixed_dictionaries(
        {
            "index": _index,
            "limit": st.integers(1, 3),
            "beats": st.sampled_from([True, True, False]),
        }
    ),
    "report": st.fixed_dictionaries(
        {"what": _reports, "index": _index, "delay": _delay, "yes": st.booleans()}
    ),
    "on_a_job": st.fixed_dictionaries(
        {
            "what": st.sampled_from(
                ["cancel", "cancel", "retry", "reschedule", "claim", "redrive"]
            ),
            "index": _index,
            "delay": _delay,
        }
    ),
    "time": st.fixed_dictionaries(
        {
            "what": st.sampled_from(
                ["", "promote", "promote", "rescue", "rescue", "expire", "retain"]
            ),
            "seconds": st.sampled_from([0, 1, 5, 10, 21, _LEASE_ENDS]),
        }
    ),
    "deaths": st.fixed_dictionaries(
        {"index": _index, "cancelled": st.booleans(), "zombie": st.booleans()}
    ),
    "workers": st.fixed_dictionaries(
        {
            "what": st.sampled_from(["stop", "register", "heartbeat", "pause queue", "pause type"]),
            "index": _index,
        }
    ),
}


class Lives(Calls):
    """
    One rule that draws from what makes sense where the life stands.

    Several rules would be left out at random: one life in five had the four that a follow-up needs.
    """

    def _sensible(self) -> list[str]:
        """What to draw from, the usual ones more than once."""
        statuses = {job.status for job in self.world.jobs.values()}
        return [
            *("produce", "produce", "time", "time", "workers"),
            *("work", "work", "work") * ("queued" in statuses),
            *("report", "report", "report", "deaths") * ("running" in statuses),
            *("report",) * bool(self.tokens),
            *("on_a_job", "on_a_job") * bool(statuses),
        ]

    @rule(data=st.data())
    def step(self, data: st.DataObject) -> None:
        """One more."""
        name = data.draw(st.sampled_from(self._sensible()))
        getattr(self, name)(**data.draw(_STEPS[name], label=name))

    def produce(self, **given: Any) -> None:
        """With all the options."""
        self.enqueue(**given)

    def work(self, index: int, limit: int, *, beats: bool) -> None:
        """A worker claims; most of the time it is alive."""
        if all(worker.gone for worker in self.world.workers.values()):
            self.register(20 + 40 * beats)
        if beats:
            self.heartbeat(index)
        self.claim(index, limit)

    def report(self, what: str, index: int, delay: int, *, yes: bool) -> None:
        """An attempt says something: the last one of its job, or a zombie."""
        match what:
            case "complete":
                self.complete(index, partial=yes)
            case "fail":
                self.fail(index, delay, retryable=yes)
            case "snooze":
                self.snooze(index, delay)
            case "release":
                self.release(index)
            case "cancel":
                self.cancel_running(index)
            case _:
                self.progress(index)

    def on_a_job(self, what: str, index: int, delay: int) -> None:
        """An operator, or a worker that wants just this one."""
        match what:
            case "cancel":
                self.cancel(index)
            case "retry":
                self.retry(index)
            case "reschedule":
                self.reschedule(index, delay)
            case "claim":
                self.claim_job(0, index)
            case _:
                self.redrive()

    def time(self, what: str, seconds: int) -> None:
        """It passes, and somebody may see to what that means."""
        self.time_passes(seconds)
        if what:
            getattr(self, what)()

    def deaths(self, index: int, *, cancelled: bool, zombie: bool) -> None:
        """All workers die, a job of theirs perhaps just asked to stop; one may speak once more."""
        if cancelled:
            self.cancel(index)
        self.time_passes(_LEASE_ENDS)
        self.rescue()
        if zombie:
            self.work(index, 3, beats=True)
            self.complete(index, partial=False)

    def workers(self, what: str, index: int) -> None:
        """They come and go; what is paused is resumed by the next such step."""
        match what:
            case _ if self.world.paused:
                self.pause_queue(paused=False)
            case _ if self.world.paused_type:
                self.pause_type(paused=False)
            case "stop":
                self.stop(index)
            case "register":
                self.register(20)
            case "heartbeat":
                self.heartbeat(index)
            case "pause queue":
                self.pause_queue(paused=True)
            case _:
                self.pause_type(paused=True)

    @invariant()
    def agrees_with_the_model(self) -> None:
        """Every job's status, attempt and payload, and who holds which key."""
        found = self.db.execute(
            """select s.id::text, s.status, s.attempt, j.payload, j.unique_key
               from pgqueue.job_status s join pgqueue.jobs j using (id)"""
        ).fetchall()
        wanted = [
            (
                *(job.id, job.status, job.attempt, job.payload),
                job.key if job.unfinished and not job.behind else None,
            )
            for job in self.world.jobs.values()
        ]
        self.seen.update(f"status: {job.status}" for job in self.world.jobs.values())
        assert sorted(found, key=lambda row: row[0]) == sorted(wanted, key=lambda row: row[0])

    @invariant()
    def verifies(self) -> None:
        """Nothing that verify() would report."""
        found = self.db.execute("select problem, job_id, detail from pgqueue.verify()").fetchall()
        assert found == []
