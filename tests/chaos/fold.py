"""One pass over the log, with the state of each job; then the questions about what it saw."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.chaos.verdict import Verdict, Violation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.chaos.evidence import Entry, Evidence, Job

    Found = tuple[str, str, Job | None]

COMPLETED = frozenset({"succeeded", "partial"})
# From where to where a job may go. `ended`: an attempts row was written, it is on its way back.
MOVES: dict[str, frozenset[str]] = {
    "": frozenset({"ready", "scheduled", "blocked"}),
    "ready": frozenset({"ready", "scheduled", "blocked", "running", "finished"}),
    "scheduled": frozenset({"ready", "scheduled", "blocked", "finished"}),
    "blocked": frozenset({"blocked", "ready", "scheduled", "finished"}),
    "running": frozenset({"finished", "ended"}),
    "ended": frozenset({"ready", "scheduled", "blocked"}),
    "finished": frozenset({"ended"}),
}


class Fold:
    """See the module; each question yields what is wrong: kind, text, job."""

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        self.verdict = Verdict()
        self.state: dict[Job, str] = {}
        self.untouched: dict[Job, bool] = {}  # waits where its insert put it
        self.top: dict[Job, int] = {}
        self.used: dict[Job, int] = {}
        self.due: dict[Job, float] = {}
        self.holder: dict[str, Job] = {}
        self.owner: dict[int, Job] = {}
        self.by: dict[int, int | None] = {}
        # How each token ended its attempt, and in which transaction.
        self.ended: dict[int, tuple[str, int]] = {}
        self.last: dict[Job, tuple[str, int | None]] = {}
        self.redriven: set[int] = set()  # their records are gone: a repeated report is refused
        self.completions: list[tuple[Job, int]] = []
        # Claimed as their insert left them.
        self.straight: dict[int, Job] = {}
        self._until: dict[int, float] = {}
        for beat in evidence.beats:
            self._until[beat.worker] = max(beat.until, self._until.get(beat.worker, 0.0))

    def bad(self, kind: str, text: str, job: Job) -> None:
        """Note a violation."""
        self.verdict.violations.append(Violation(kind, text, job))

    def read(self) -> None:
        """Follow every job."""
        enter: dict[str, Callable[[Entry], None]] = {
            "ready": self._waits,
            "scheduled": self._waits,
            "blocked": self._waits,
            "running": self._runs,
            "finished": self._finishes,
            "attempt": self._ends,
            "key": self._takes_key,
            "unkey": self._gives_key_back,
            "order": lambda _: None,  # waits.disorder()
        }
        for entry in self.evidence.log:
            enter[entry.entered](entry)

    def _move(self, entry: Entry, to: str) -> str:
        job = entry.job
        was = self.state.get(job, "")
        if to not in MOVES[was]:
            kind = "move"
            if was == "finished":
                kind = "done_twice" if to == "finished" else "after_done"
            self.bad(kind, f"from {was or 'nowhere'} to {to}", job)
        self.state[job] = to
        return was

    def _waits(self, entry: Entry) -> None:
        job, entered = entry.job, entry.entered
        was = self._move(entry, entered)
        self.untouched[job] = not was
        if not was:
            asked = self.evidence.asked.get(job)
            if asked is None:
                self.bad("phantom", "nobody asked for this job", job)
            elif asked == "fail":
                self.bad("ghost", "its enqueue failed or was rolled back", job)
        if entry.attempt is not None and entry.attempt != self.used.get(job, 0):
            self.bad("attempts", f"{entry.attempt} counted, {self.used.get(job, 0)} used", job)
        if entered == "scheduled":
            self.due[job] = entry.until or 0.0
        elif job in self.due and entered == "ready":
            due = self.due.pop(job)
            if self.evidence.steady and entry.clock < due and job not in self.evidence.touched:
                self.bad("early", f"due at {due}, ready at {entry.clock}", job)

    def _runs(self, entry: Entry) -> None:
        job, token = entry.job, entry.token
        assert token is not None
        self._move(entry, "running")
        if self.untouched.pop(job, False):
            self.straight[token] = job
        if token <= self.top.get(job, 0):
            self.bad("token", f"token {token} after {self.top[job]}", job)
        if token in self.owner:
            self.bad("token", f"token {token} was given out before", job)
        self.top[job] = token
        self.owner[token] = job
        self.by[token] = entry.worker
        used = self.used.get(job, 0)
        if entry.attempt is not None and entry.attempt != used + 1:
            self.bad("attempts", f"attempt {entry.attempt} after {used}", job)
        self.verdict.counts["claimed"] += 1
        if used:
            self.verdict.counts["again"] += 1

    def _finishes(self, entry: Entry) -> None:
        job, token = entry.job, entry.token
        was = self._move(entry, "finished")
        self.last[job] = (entry.detail or "", token)
        self.due.pop(job, None)
        if was != "running":
            return
        self._by_its_owner(entry)
        assert token is not None
        self.ended[token] = (entry.detail or "", entry.xid)
        if entry.detail in COMPLETED:
            self.completions.append((job, token))
        elif entry.until is not None:
            self._lost(entry)

    def _ends(self, entry: Entry) -> None:
        job, token, outcome = entry.job, entry.token, entry.detail
        was = self._move(entry, "ended")
        if outcome == "redriven":
            self.used[job] = 0
            self.verdict.counts["redriven"] += 1
            self.redriven.add(token or 0)
            return
        if was == "running":
            self._by_its_owner(entry)
        assert token is not None
        self.ended[token] = (outcome or "", entry.xid)
        counts = outcome not in {"snoozed", "released", "paused"}
        self.used[job] = (entry.attempt or 1) - (not counts)
        self.verdict.counts[f"attempt {outcome}"] += 1
        if outcome == "lost":
            self._lost(entry)

    def _by_its_owner(self, entry: Entry) -> None:
        if entry.token != self.top.get(entry.job):
            self.bad(
                "stale",
                f"{entry.detail} by {entry.token}, owner {self.top.get(entry.job)}",
                entry.job,
            )

    def _lost(self, entry: Entry) -> None:
        if (
            not self.evidence.steady
            or entry.worker is None
            or entry.worker in self.evidence.stopped
        ):
            return
        until = max(entry.until or 0.0, self._until.get(entry.worker, 0.0))
        if entry.clock < until:
            text = f"taken from worker {entry.worker} at {entry.clock}, lease until {until}"
            self.bad("early_reclaim", text, entry.job)

    def _takes_key(self, entry: Entry) -> None:
        assert entry.detail is not None
        holder = self.holder.get(entry.detail)
        if holder is not None and holder != entry.job:
            self.bad("key_overlap", f"{entry.detail!r} is held by {holder}", entry.job)
        self.holder[entry.detail] = entry.job

    def _gives_key_back(self, entry: Entry) -> None:
        assert entry.detail is not None
        if self.holder.get(entry.detail) == entry.job:
            del self.holder[entry.detail]

    def ends(self) -> Iterator[Found]:
        """Every job that was acknowledged or seen has ended, as the log says."""
        final, counts = self.evidence.final, self.verdict.counts
        for job, asked in self.evidence.asked.items():
            counts[f"enqueue {asked}"] += 1
            if asked == "ok" and job not in self.state:
                counts["lost"] += 1
                yield "lost", "acknowledged, and never there", job
        for job, state in self.state.items():
            # Seen means committed, whatever its producer knows.
            if job not in final and self.evidence.drained:
                counts["lost"] += 1
                yield "lost", f"not finished: {state}", job
        for job, (status, token) in final.items():
            counts[status] += 1
            if self.last.get(job) != (status, token):
                yield "unkept_word", f"{status} by {token}, logged {self.last.get(job)}", job

    def claims(self) -> Iterator[Found]:
        """Each token was claimed by one process, as the log says; and no claim was too large."""
        seen: dict[int, str] = {}
        for claim in self.evidence.claims:
            if len(claim.got) > claim.limit:
                text = f"{claim.limit} asked for, {len(claim.got)} claimed by {claim.process}"
                yield "over_limit", text, claim.got[0][0]
            for job, token, *_ in claim.got:
                if token in seen:
                    yield "two_owners", f"token {token}: {seen[token]} and {claim.process}", job
                if self.owner.get(token) != job:
                    yield "unkept_word", f"{claim.process} was given token {token}, not logged", job
                seen[token] = claim.process
        unsure = self.evidence.unsure
        if unsure is None:
            return
        for token, job in self.owner.items():
            if token not in seen and self.by[token] not in unsure:
                yield "unseen_claim", f"token {token}: no worker knows of it", job

    def reports(self) -> Iterator[Found]:
        """What was acknowledged has happened; what was refused has not."""
        counts = self.verdict.counts
        for job, token, do, ended in self.evidence.reports:
            how = self.ended.get(token, ("", 0))[0]
            if ended == "ok" and (how not in COMPLETED if do == "complete" else not how):
                yield (
                    "unkept_word",
                    f"token {token}: {do} acknowledged, logged {how or 'nothing'}",
                    job,
                )
            elif ended == "refused":
                counts["stale refused"] += 1
                # "fail" after a COMMIT without a reply is rightly refused when it had committed.
                if do == "complete" and how in COMPLETED and token not in self.redriven:
                    yield "unkept_word", f"token {token}: refused, but it has {how}", job

    def effects(self) -> Iterator[Found]:
        """One row in the ledger for each completion, written by its transaction."""
        transactional = self.evidence.transactional
        seen: set[int] = set()
        for job, token, xid in self.evidence.ledger:
            how, ended_by = self.ended.get(token, ("nothing", 0))
            if token in seen:
                yield "effect", f"token {token} has two rows", job
            elif how not in COMPLETED:
                yield "effect", f"token {token} left a row and ended with {how}", job
            elif ended_by != xid:
                yield "effect", f"row by {xid}, completion by {ended_by}", job
            seen.add(token)
        self.verdict.counts["effects"] = len(self.evidence.ledger)
        for job, token in self.completions:
            if job in transactional and token not in seen:
                yield "no_effect", f"token {token} completed without its row", job

    def keys(self) -> Iterator[Found]:
        """No finished job holds its key."""
        for key, job in self.holder.items():
            if self.state.get(job) == "finished":
                yield "key_kept", f"finished, and holds {key!r}", job
