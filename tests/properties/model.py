"""What the README says about a job's life, in Python: small, slow, and written without the SQL."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

WAITING = {"queued", "scheduled", "retrying", "blocked"}
ATTEMPTS = 5  # the default of the settings
RETENTION = 50


class RefusedError(Exception):
    """The call is answered with this SQLSTATE."""

    def __init__(self, sqlstate: str) -> None:
        super().__init__(sqlstate)
        self.sqlstate = sqlstate


@dataclass(slots=True)
class Job:
    """One job."""

    id: str
    payload: dict[str, Any]
    priority: int
    status: str = "queued"
    due_at: int = 0
    reason: str = "run_at"
    run_at: int | None = None
    expires_at: int | None = None
    max_attempts: int = ATTEMPTS
    key: str | None = None  # held, or had when it finished
    idempotency_key: str | None = None
    behind: str | None = None  # the job that a follow-up waits for
    attempts: int = 0  # used; of a running one without the one that runs
    token: int | None = None
    worker: int | None = None
    cancel_requested: bool = False
    finished_at: int = 0

    @property
    def attempt(self) -> int:
        """As job_status shows it."""
        return self.attempts + (self.status == "running")

    @property
    def unfinished(self) -> bool:
        """Whether something is still to happen."""
        return self.status in WAITING | {"running"}


@dataclass(slots=True)
class Worker:
    """One registered worker."""

    lease: int
    heartbeat_at: int
    gone: bool = False


@dataclass(slots=True)
class World:
    """All of it. Times are seconds."""

    now: int = 0
    jobs: dict[str, Job] = field(default_factory=dict)
    workers: dict[int, Worker] = field(default_factory=dict)
    # (job, token) -> how this attempt said it ended; what was taken from a worker is not there.
    said: dict[tuple[str, int], str] = field(default_factory=dict)
    paused: bool = False
    paused_type: bool = False
    passed_on: int = 0  # keys that went to a follow-up

    def holder(self, key: str) -> Job | None:
        """The unfinished job that has the key."""
        found = [j for j in self.jobs.values() if j.key == key and j.unfinished and not j.behind]
        return found[0] if found else None

    def follow_up(self, job_id: str) -> Job | None:
        """The job that waits behind this one."""
        found = [j for j in self.jobs.values() if j.behind == job_id and j.unfinished]
        return found[0] if found else None

    # -- Producers.

    def enqueue(self, new: Job, mode: str) -> str:
        """Return the id of the job that serves the request."""
        for job in self.jobs.values():
            if new.idempotency_key and job.idempotency_key == new.idempotency_key:
                return job.id
        holder = self.holder(new.key) if new.key else None
        if holder is None:
            self.jobs[new.id] = new
            self.place(new, new.run_at, "run_at")
            return new.id
        if mode == "ignore":
            return holder.id
        target = self.follow_up(holder.id)
        if target is None and holder.status == "running":
            self.jobs[new.id] = new
            new.status, new.behind = "blocked", holder.id
            return new.id
        target = target or holder
        target.payload = (
            _merged(target.payload, new.payload) if mode == "merge" else dict(new.payload)
        )
        self.update(target, new.run_at if mode == "debounce" else target.run_at)
        return target.id

    def update(self, job: Job, run_at: int | None) -> str:
        """Anything about a waiting job has changed, its time perhaps."""
        if job.status not in WAITING:
            raise RefusedError("PQ002")
        moved = run_at != job.run_at
        job.run_at = run_at
        due = run_at if moved else job.due_at if job.status != "queued" else None
        if job.status in {"scheduled", "retrying"}:
            self.place(job, due, "run_at" if moved and job.reason == "snooze" else job.reason)
        elif job.status == "queued":
            self.place(job, due, "run_at")
        return ""

    def place(self, job: Job, due: int | None, reason: str) -> None:
        """It waits for its time, or is queued."""
        later = due is not None and due > self.now
        job.due_at, job.reason = due or 0, reason
        job.status = ("retrying" if reason == "retry" else "scheduled") if later else "queued"

    # -- Workers.

    def claimable(self) -> list[Job]:
        """What a claim may get."""
        return [
            j
            for j in self.jobs.values()
            if j.status == "queued"
            and not self.expired(j)
            and not (self.paused or self.paused_type)
        ]

    def expired(self, job: Job) -> bool:
        """Whether it must not start any more."""
        return job.expires_at is not None and job.expires_at <= self.now

    def check_worker(self, n: int) -> None:
        """Raise unless it may claim."""
        worker = self.workers[n]
        if worker.gone or worker.heartbeat_at + worker.lease < self.now:
            raise RefusedError("PQ004")

    def heartbeat(self, n: int) -> int:
        """Renew the lease."""
        if self.workers[n].gone:
            raise RefusedError("PQ004")
        self.workers[n].heartbeat_at = self.now
        return 1

    def run(self, job: Job, token: int, worker: int) -> None:
        """It was claimed."""
        job.status, job.token, job.worker = "running", token, worker

    def owned(self, job_id: str, token: int) -> bool:
        """Whether this token owns the job."""
        job = self.jobs.get(job_id)
        return job is not None and job.status == "running" and job.token == token

    def report(self, job_id: str, token: int, repeats: set[str]) -> Job | str:
        """The job that this token owns, or the answer to a repeated report."""
        if self.owned(job_id, token):
            return self.jobs[job_id]
        said = self.said.get((job_id, token))
        if said is None or said not in repeats:
            raise RefusedError("PQ001")
        return said

    def finish(self, job: Job, status: str, *, reported: bool) -> str:
        """It ends; its key goes to its follow-up."""
        if job.status == "running":
            job.attempts += 1
            if reported and job.token is not None:
                self.said[job.id, job.token] = status
        waited = self.follow_up(job.id)
        job.status, job.finished_at = status, self.now
        job.cancel_requested, job.behind = False, None
        if waited is not None:
            self.passed_on += 1
            waited.behind = None
            self.place(waited, waited.run_at, "run_at")
        return status

    def end_attempt(self, job: Job, said: str | None, due: int | None, reason: str) -> str:
        """It goes back; *said* None = it was taken from its worker."""
        counts = said in {"retrying", None}
        job.attempts += counts
        if said and job.token is not None:
            self.said[job.id, job.token] = said
        self.place(job, due, reason)
        return said or ""

    # -- Operators.

    def cancel(self, job: Job) -> str:
        """At once, or by asking."""
        if job.status == "running":
            job.cancel_requested = True
            return "running"
        if job.status in WAITING:
            return self.finish(job, "cancelled", reported=False)
        if job.status != "cancelled":
            raise RefusedError("PQ002")
        return "cancelled"

    def retry(self, job: Job) -> str:
        """Now, or again."""
        if job.status in {"scheduled", "retrying"}:
            return self.update(job, self.now)
        if job.unfinished or self.expired(job):
            raise RefusedError("PQ002")
        if job.key and self.holder(job.key):
            raise RefusedError("PQ005")
        if job.token is not None and self.said.get((job.id, job.token)) == job.status:
            del self.said[job.id, job.token]
        job.attempts = 0
        self.place(job, None, "run_at")
        return ""

    # -- Time.

    def promote(self) -> int:
        """What is due is queued."""
        due = [
            j
            for j in self.jobs.values()
            if j.status in {"scheduled", "retrying"} and j.due_at <= self.now
        ]
        for job in due:
            job.status = "queued"
        return len(due)

    def give_back(self, n: int, *, lost: bool) -> int:
        """What worker n runs goes back: the worker died, or stopped."""
        mine = [j for j in self.jobs.values() if j.status == "running" and j.worker == n]
        for job in mine:
            if job.cancel_requested:
                self.finish(job, "cancelled", reported=not lost)
            elif lost and job.attempt >= job.max_attempts:
                self.finish(job, "failed", reported=False)
            else:
                self.end_attempt(job, None if lost else "released", None, "run_at")
        return len(mine)

    def rescue(self) -> int:
        """Workers whose lease has ended are dead."""
        rescued = 0
        for n, worker in self.workers.items():
            if not worker.gone and worker.heartbeat_at + worker.lease < self.now:
                worker.gone = True
                rescued += self.give_back(n, lost=True)
        return rescued

    def expire(self) -> int:
        """What waited for too long is cancelled."""
        late = [j for j in self.jobs.values() if j.status in WAITING and self.expired(j)]
        for job in late:
            self.finish(job, "cancelled", reported=False)
        return len(late)

    def retain(self) -> int:
        """What finished long ago is forgotten."""
        old = [
            j
            for j in self.jobs.values()
            if not j.unfinished and j.finished_at < self.now - RETENTION
        ]
        for job in old:
            del self.jobs[job.id]
            self.said = {pair: said for pair, said in self.said.items() if pair[0] != job.id}
        return len(old)


def _merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    lists = {
        name: old[name] + new[name]
        for name in old.keys() & new.keys()
        if isinstance(old[name], list) and isinstance(new[name], list)
    }
    return {**old, **new, **lists}
