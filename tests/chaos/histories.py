"""Histories that never happened: clean ones, and clean ones corrupted in a known way."""

from __future__ import annotations

import random

from tests.chaos.evidence import Beat, Claim, Effect, Entry, Evidence, Lease, Report, Wake

LEASE_SECONDS = 2.0
WAKE_SECONDS = 300.0  # lost leases let minutes pass in these
MILLISECOND = 1_000_000
QUEUES = ("a", "b", "c")


class _Author:
    """Writes one clean history: every job on a life of its own, one clock for all."""

    def __init__(self, jobs: int, seed: object) -> None:
        self.draw = random.Random(f"{seed}")  # noqa: S311
        self.log: list[Entry] = []
        self.evidence = Evidence(log=self.log, wake_seconds=WAKE_SECONDS)
        self.now = 1
        self.token = 0
        self.pos = 0
        self.worker = 1
        self.jobs = jobs
        # Of the order check: who waits, by queue, so that claims can take the first.
        self.waiting: dict[str, list[tuple[tuple[int, int], int]]] = {q: [] for q in QUEUES}

    def write(self) -> Evidence:
        """All jobs, in batches of up to ten, each batch claimed when it is there."""
        job = 0
        while job < self.jobs:
            batch = range(job, min(self.jobs, job + self.draw.randrange(1, 11)))
            queue = self.draw.choice(QUEUES)
            for one in batch:
                self._enqueue(one, queue)
            job = batch.stop
            self._work(queue)
        self.evidence.beats = [Beat(1, 0.0)]
        self.evidence.leases = [Lease(5.0, 1.0, 6.1)]
        return self.evidence

    def _add(self, job: int, entered: str, **more: object) -> None:
        self.log.append(Entry(job, entered, clock=self.now / 1e9, **more))  # type: ignore[arg-type]

    def _tick(self) -> int:
        self.now += MILLISECOND
        return self.now

    def _enqueue(self, job: int, queue: str) -> None:
        draw = self.draw.random()
        self._tick()
        if draw < 0.02:
            self.evidence.asked[job] = "fail"
            return
        self.evidence.asked[job] = "ok" if draw < 0.97 else "info"
        if draw > 0.99:
            return  # an enqueue that nobody knows of, and that did not happen
        if 0.10 < draw < 0.15:
            self._add(job, "key", detail=f"k{job}")
        self.pos += 1
        self._add(job, "ready", attempt=0)
        self.evidence.acked[job] = self._tick()
        if draw < 0.97 and draw > 0.9:
            self.evidence.wakes.append(Wake(job, self.now))
        self.waiting[queue].append(((self.draw.randrange(4), self.pos), job))

    def _work(self, queue: str) -> None:
        """Claim what waits, in order; end each attempt, some of them badly."""
        while self.waiting[queue]:
            asked = self._tick()
            self.waiting[queue].sort()
            n = self.draw.randrange(1, 6)
            taken, self.waiting[queue] = self.waiting[queue][:n], self.waiting[queue][n:]
            got = []
            for (priority, pos), job in taken:
                self.token += 1
                attempt = self._attempts(job) + 1
                self._add(job, "running", token=self.token, worker=self.worker, attempt=attempt)
                got.append((job, self.token, queue, priority, pos))
            answered = self._tick()
            claim = Claim(asked, answered, f"w{self.worker}", n, True, got)  # type: ignore[arg-type]
            self.evidence.claims.append(claim)
            for job, token, _, priority, _ in got:
                self._end(job, token, queue, priority)

    def _attempts(self, job: int) -> int:
        for entry in reversed(self.log[-200:]):
            if entry.job == job and entry.entered == "ready":
                return entry.attempt or 0
        return 0

    def _end(self, job: int, token: int, queue: str, priority: int) -> None:
        attempt = self._attempts(job) + 1
        draw = self.draw.random()
        self._tick()
        if draw < 0.05 and attempt < 4:
            self._lose(job, token, attempt)
        elif draw < 0.10:
            self._retry(job, token, attempt)
        else:
            status = "failed" if draw < 0.13 else "succeeded"
            xid = token + 1000
            if job % 3 == 0:
                self.evidence.transactional.add(job)
                if status == "succeeded":
                    self.evidence.ledger.append(Effect(job, token, xid))
            self._add(
                job, "finished", detail=status, token=token, worker=1, attempt=attempt, xid=xid
            )
            if any(e.job == job and e.entered == "key" for e in self.log[-300:]):
                self._add(job, "unkey", detail=f"k{job}")
            do = "complete" if status == "succeeded" else "fail"
            self.evidence.reports.append(Report(job, token, do, "ok"))
            self.evidence.final[job] = (status, token)
            return
        self.pos += 1
        self.waiting[queue].append(((priority, self.pos), job))

    def _lose(self, job: int, token: int, attempt: int) -> None:
        until = self.now / 1e9 + LEASE_SECONDS
        self.now += int(LEASE_SECONDS * 1e9) + MILLISECOND
        self._add(
            job, "attempt", detail="lost", token=token, worker=1, attempt=attempt, until=until
        )
        self._add(job, "ready", attempt=attempt)
        self.evidence.reports.append(Report(job, token, "complete", "refused"))

    def _retry(self, job: int, token: int, attempt: int) -> None:
        self._add(job, "attempt", detail="retrying", token=token, worker=1, attempt=attempt)
        self._add(job, "scheduled", detail="retry", attempt=attempt, until=self.now / 1e9 + 0.001)
        self.now += 2 * MILLISECOND
        self._add(job, "ready", attempt=attempt)
        self.evidence.reports.append(Report(job, token, "fail", "ok"))


def clean(jobs: int, seed: object) -> Evidence:
    """
    Write a history in which every promise is kept.

    Args:
        jobs: How many.
        seed: The same seed, the same history.
    """
    return _Author(jobs, seed).write()


def many(jobs: int) -> Evidence:
    """Write a long one quickly: each job is claimed and completed, a third with an effect."""
    log: list[Entry] = []
    evidence = Evidence(log=log, unsure=set())
    new = Entry
    for first in range(0, jobs, 100):
        batch = range(first, min(jobs, first + 100))
        now = first * 1000
        for job in batch:
            evidence.asked[job] = "ok"
            evidence.acked[job] = now
            log.append(new(job, "ready", attempt=0))
        got = []
        for job in batch:
            log.append(new(job, "running", token=job + 1, worker=1, attempt=1))
            got.append((job, job + 1, "a", 1, job))
        evidence.claims.append(Claim(now + 1, now + 2, "w1", 100, True, got))  # type: ignore[arg-type]
        for job in batch:
            log.append(new(job, "finished", "succeeded", job + 1, 1, 1, None, job))
            evidence.reports.append(Report(job, job + 1, "complete", "ok"))
            evidence.final[job] = ("succeeded", job + 1)
            if job % 3 == 0:
                evidence.transactional.add(job)
                evidence.ledger.append(Effect(job, job + 1, job))
    return evidence
