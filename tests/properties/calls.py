"""Every call that a random life makes, with what the model says to it."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from tests.properties.model import Job, RefusedError
from tests.properties.sides import Sides


class Calls(Sides):
    """See the module."""

    # -- Producers.

    def enqueue(self, **given: Any) -> None:
        """With all the options."""
        now, w = self.world.now, self.world
        job = Job(str(uuid4()), {"v": given["v"], "all": [given["v"]]}, given["priority"])
        job.run_at = None if given["delay"] is None else now + given["delay"]
        job.expires_at = None if given["expires"] is None else now + given["expires"]
        job.max_attempts = given["max_attempts"] or job.max_attempts
        job.key, job.idempotency_key = given["key"], given["idempotency_key"]
        self.both(
            lambda: w.enqueue(job, given["mode"]),
            f"""select pgqueue.enqueue('t', %s, p_priority => %s,
                p_run_at => {self.at(job.run_at)}, p_expires_at => {self.at(job.expires_at)},
                p_max_attempts => %s, p_unique_key => %s, p_idempotency_key => %s,
                p_on_duplicate => %s, p_id => %s)::text""",
            json.dumps(job.payload),
            job.priority,
            given["max_attempts"],
            job.key,
            job.idempotency_key,
            given["mode"],
            job.id,
        )

    def reschedule(self, index: int, delay: int) -> None:
        """An UPDATE of a waiting job."""
        job, run_at = self.pick_job(index, "scheduled", "retrying"), self.world.now + delay
        self.both(
            lambda: self.world.update(job, run_at),
            f"select pgqueue.reschedule(%s, {self.at(run_at)})::text",
            job.id,
        )

    # -- Workers.

    def heartbeat(self, index: int) -> None:
        """Renewed, or given up."""
        n = self.pick_worker(index)
        self.both(lambda: self.world.heartbeat(n), "select count(*) from pgqueue.heartbeat(%s)", n)

    def stop(self, index: int) -> None:
        """What it runs goes back, uncounted; a dead one has nothing left."""
        n = self.pick_worker(index)
        self.both(lambda: self.world.give_back(n, lost=False), "select pgqueue.stop_worker(%s)", n)
        self.world.workers[n].gone = True

    def claim(self, index: int, limit: int) -> None:
        """As many as there are, the most urgent ones, each with a token that is new."""
        n = self.pick_worker(index)
        able = {job.id: job for job in self.world.claimable()}
        try:
            got = self.ask(
                "select job_id::text, token, attempt, payload from pgqueue.claim(%s, null, %s)",
                n,
                limit,
            )
        except psycopg.Error as error:
            self._must_refuse(n, error)
            return
        self.world.check_worker(n)
        urgent = sorted(job.priority for job in able.values())[:limit]
        assert sorted(able[job_id].priority for job_id, *_ in got) == urgent
        self.seen[f"claim: {len(got)}"] += 1
        for found in got:
            self._run(able[found[0]], n, *found[1:])

    def claim_job(self, index: int, which: int) -> None:
        """This one, paused or not, if it is queued."""
        n, job = self.pick_worker(index), self.pick_job(which, "queued")
        try:
            got = self.ask(
                "select token, attempt, payload from pgqueue.claim_job(%s, %s)", n, job.id
            )
        except psycopg.Error as error:
            self._must_refuse(n, error)
            return
        self.world.check_worker(n)
        able = job.status == "queued" and not self.world.expired(job)
        assert len(got) == able
        if got:
            self._run(job, n, *got[0])

    def _must_refuse(self, n: int, error: psycopg.Error) -> None:
        with pytest.raises(RefusedError) as refused:
            self.world.check_worker(n)
        assert error.sqlstate == refused.value.sqlstate

    def _run(self, job: Job, n: int, token: int, attempt: int, payload: str) -> None:
        assert all(token > old for _, old in self.tokens), "a token was used before"
        assert (attempt, json.loads(payload)) == (job.attempts + 1, job.payload)
        self.world.run(job, token, n)
        self.tokens.append((job.id, token))

    def complete(self, index: int, *, partial: bool) -> None:
        """By the token that owns the job; repeated; by a zombie."""
        owned = self.pick_token(index)
        status = "partial" if partial else "succeeded"

        def expected() -> str:
            job = self.world.report(*owned, {"succeeded", "partial"})
            return job if isinstance(job, str) else self.world.finish(job, status, reported=True)

        errors = """'[{"code": "c"}]'""" if partial else "null"
        self.both(expected, f"select pgqueue.complete(%s, %s, p_errors => {errors})", *owned)

    def fail(self, index: int, after: int, *, retryable: bool) -> None:
        """Again later, or for good."""
        owned, w = self.pick_token(index), self.world

        def expected() -> str:
            job = w.report(*owned, {"retrying", "failed", "cancelled"})
            if isinstance(job, str):
                return job
            if job.cancel_requested:
                return w.finish(job, "cancelled", reported=True)
            if not retryable or job.attempt >= job.max_attempts:
                return w.finish(job, "failed", reported=True)
            return w.end_attempt(job, "retrying", w.now + after, "retry")

        call = f"select pgqueue.fail(%s, %s, null, {retryable}, '{after} seconds')"
        self.both(expected, call, *owned)

    def snooze(self, index: int, delay: int) -> None:
        """Later, uncounted."""
        call = f"select pgqueue.snooze(%s, %s, '{delay} seconds')::text"
        self._gives_back(index, "snoozed", self.world.now + delay, "snooze", call)

    def release(self, index: int) -> None:
        """At once, uncounted."""
        call = "select pgqueue.release(%s, %s)::text"
        self._gives_back(index, "released", None, "run_at", call)

    def _gives_back(self, index: int, said: str, due: int | None, reason: str, call: str) -> None:
        owned = self.pick_token(index)

        def expected() -> str:
            job = self.world.report(*owned, {said, "cancelled"})
            if not isinstance(job, str):
                if job.cancel_requested:
                    self.world.finish(job, "cancelled", reported=True)
                else:
                    self.world.end_attempt(job, said, due, reason)
            return ""

        self.both(expected, call, *owned)

    def cancel_running(self, index: int) -> None:
        """The handler gives up."""
        owned = self.pick_token(index)

        def expected() -> str:
            job = self.world.report(*owned, {"cancelled"})
            if not isinstance(job, str):
                self.world.finish(job, "cancelled", reported=True)
            return ""

        self.both(expected, "select pgqueue.cancel_running(%s, %s)::text", *owned)

    def progress(self, index: int) -> None:
        """Of the owner only."""
        owned = self.pick_token(index)
        self.both(
            lambda: self.world.report(*owned, set()) and "",
            "select pgqueue.progress(%s, %s, 50)::text",
            *owned,
        )

    # -- Operators.

    def cancel(self, index: int) -> None:
        """Whatever it is at."""
        job = self.pick_job(index, "running")
        self.both(lambda: self.world.cancel(job), "select pgqueue.cancel(%s)", job.id)

    def retry(self, index: int) -> None:
        """Whatever it is at."""
        job = self.pick_job(index, "failed", "succeeded", "cancelled")
        self.both(lambda: self.world.retry(job), "select pgqueue.retry(%s)::text", job.id)

    def redrive(self) -> None:
        """Every failed one that may; of several with one key, one."""
        failed = [j for j in self.world.jobs.values() if j.status == "failed"]
        (count,) = self.ask("select pgqueue.redrive()")[0]
        queued = {row[0] for row in self.ask("select job_id::text from pgqueue.ready")}
        redriven = [job for job in failed if job.id in queued]
        for job in redriven:
            self.world.retry(job)
        assert count == len(redriven)
        for job in failed:
            if job.status == "failed":
                assert self.world.expired(job) or (job.key and self.world.holder(job.key))

    def pause_queue(self, *, paused: bool) -> None:
        """Or resume it."""
        self.ask(f"select pgqueue.{'pause' if paused else 'resume'}_queue('default')")
        self.world.paused = paused

    def pause_type(self, *, paused: bool) -> None:
        """Or resume it."""
        self.ask(f"select pgqueue.{'pause' if paused else 'resume'}_job_type('t')")
        self.world.paused_type = paused

    # -- Time.

    def time_passes(self, seconds: int) -> None:
        """For everybody."""
        self.world.now += seconds
        self.tick()

    def promote(self) -> None:
        """What is due."""
        self.both(self.world.promote, "select moved from pgqueue.promote()")

    def rescue(self) -> None:
        """What dead workers ran."""
        self.both(self.world.rescue, "select pgqueue.rescue()")

    def expire(self) -> None:
        """What waited too long."""
        self.both(self.world.expire, "select pgqueue.expire()")

    def retain(self) -> None:
        """What finished long ago."""
        self.both(self.world.retain, "select pgqueue.retain()")
