"""From the histories of the processes and the log of the database to the evidence of one run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.chaos import collect_flow
from tests.chaos.evidence import Beat, Claim, Effect, Entry, Evidence, Lease, Report, Wake

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

    from tests.chaos.history import Event

TRANSACTIONAL = ["written", "written_threaded", "written_childish", "paid_later"]
LOG = """
select job::text, entered, detail, token, worker, attempt, extract(epoch from until)::float8,
    xid::text::bigint, extract(epoch from clock)::float8
from chaos.log order by seq
"""
FINAL = "select job_id::text, status, token from pgqueue.finished"
LEDGER = "select job::text, token, xid::text::bigint from chaos.ledger"
WRITING = "select id::text from pgqueue.jobs where job_type = any(%s)"
UNFINISHED = """
select count(*) from pgqueue.jobs j
where not exists (select from pgqueue.finished f where f.job_id = j.id)
"""
XACT_STATUS = "select pg_xact_status(%s::text::xid8)"
# What a process does with one call, from its invoke to its end.
Op = tuple["Event", "Event | None"]


def evidence_of(db: psycopg.Connection[Any], events: list[Event]) -> Evidence:
    """
    Put everything together.

    Args:
        db: The database after the run.
        events: Of all processes, by time.
    """
    evidence = Evidence(unsure=set())
    # One snapshot: a hunt looks while the run goes on.
    with db.transaction():
        db.execute("set transaction isolation level repeatable read")
        evidence.log = [Entry(*row) for row in db.execute(LOG)]
        evidence.final = {job: (status, token) for job, status, token in db.execute(FINAL)}
        evidence.ledger = [Effect(*row) for row in db.execute(LEDGER)]
        evidence.transactional = {row[0] for row in db.execute(WRITING, (TRANSACTIONAL,))}
        row = db.execute(UNFINISHED).fetchone()
        collect_flow.look(evidence, db)
    evidence.drained = row is not None and row[0] == 0
    _Reader(evidence, db).read(events)
    return evidence


class _Reader:
    """Sorts events into the evidence."""

    def __init__(self, evidence: Evidence, db: psycopg.Connection[Any]) -> None:
        self.evidence = evidence
        self.db = db
        self.seen = {(entry.job, entry.xid) for entry in evidence.log}
        # When the server went away, if it did.
        self.crashes: list[tuple[int, int]] = []

    def read(self, events: list[Event]) -> None:
        """Read all of them."""
        xids = {(e["p"], e["n"]): e["xid"] for e in events if e["ty"] == "commit"}
        self.crashes = _windows_without_server(events)
        for asked, answered in _calls(events):
            match asked["f"]:
                case "enqueue":
                    self._enqueue(asked, answered, xids.get((asked["p"], asked["n"])))
                case "exchange":
                    self._claim(asked, answered)
                    self._reports(asked, answered)
                case "report":
                    self._reports(asked, answered)
                case "heartbeat" if _ty(answered) == "ok":
                    assert answered is not None
                    self.evidence.beats.append(Beat(asked["worker"], answered["until"]))
                case "stop_worker":
                    self.evidence.stopped.add(asked["worker"])
                case "operate":
                    self.evidence.touched.add(asked["job"])
                case "patient" if _ty(answered) == "ok":
                    assert answered is not None
                    lease = Lease(answered["asked_at"], answered["lease"], answered["until"])
                    self.evidence.leases.append(lease)
                case _:
                    collect_flow.answer(self.evidence.flow, asked, answered)
        collect_flow.hear(self.evidence.flow, events)
        for event in events:
            if event["f"] == "follow":
                self.evidence.asked.setdefault(event["job"], "follow")
            elif event["f"] == "transaction":
                ended = "refused" if event.get("lost") else event["ty"]
                report = Report(event["job"], event["token"], "complete", ended)
                self.evidence.reports.append(report)

    def _enqueue(self, asked: Event, answered: Event | None, xid: str | None) -> None:
        at = asked["t"] if answered is None else answered["t"]
        ty = self._resolved(asked, _ty(answered), xid, at)
        key, batch = asked.get("key"), asked.get("batch")
        # Not by what was found out later: a hunt's snapshot may be older.
        if _ty(answered) == "ok" and batch is not None:
            self.evidence.flow.joined.update(dict.fromkeys(asked["jobs"], batch))
        served_by = None if answered is None else answered.get("served_by")
        for job in asked["jobs"]:
            if key is None:
                self.evidence.asked[job] = ty
                if ty == "ok":
                    self.evidence.acked[job] = at
            else:
                # Another job may serve the request; that one may be changed and moved by it.
                served = served_by == job
                known = ty == "fail" or (ty == "ok" and served_by is not None)
                other = "fail" if known else "info"
                self.evidence.asked[job] = "ok" if served and ty == "ok" else other
                self.evidence.touched.update((job, served_by or job))
        if ty == "ok" and answered is not None and answered.get("wake"):
            self.evidence.wakes.extend(Wake(job, at) for job in asked["jobs"])

    def _resolved(self, asked: Event, ty: str, xid: str | None, at: int) -> str:
        """
        Ask the server about a commit whose reply was lost.

        After a crash "committed" proves nothing: transaction ids that had not reached the WAL are
        given out again. Then the job itself must say that it is there.
        """
        if ty != "info" or asked.get("autocommit"):
            return ty
        if xid is None:
            return "fail"  # it had not come to the commit
        crashed = any(begun <= at and asked["t"] <= ended for begun, ended in self.crashes)
        if crashed:
            there = any((job, int(xid)) in self.seen for job in asked["jobs"])
            return "ok" if there else "info"
        row = self.db.execute(XACT_STATUS, (xid,)).fetchone()
        return {"committed": "ok", "aborted": "fail"}.get(row[0] if row else "", "info")

    def _claim(self, asked: Event, answered: Event | None) -> None:
        if _ty(answered) == "info":
            assert self.evidence.unsure is not None
            self.evidence.unsure.add(asked["worker"])
            until = asked["t"] if answered is None else answered["t"]
            # What it has locked it may hold until the server notices.
            self.evidence.windows.append((asked["t"], until + 10_000_000_000))
        elif answered is not None and _ty(answered) == "ok" and answered["got"]:
            got = [tuple(one) for one in answered["got"]]
            self.evidence.claims.append(
                Claim(
                    asked["t"],
                    answered["t"],
                    asked["p"],
                    asked["limit"],
                    asked["sweep"],
                    got,
                )
            )

    def _reports(self, asked: Event, answered: Event | None) -> None:
        refused = set() if answered is None else set(answered.get("refused", ()))
        for job, token, do in asked["reports"]:
            ended = "refused" if token in refused else _ty(answered)
            self.evidence.reports.append(Report(job, token, do, ended))


def _ty(answered: Event | None) -> str:
    return "info" if answered is None else str(answered["ty"])


def _calls(events: list[Event]) -> Iterator[Op]:
    """Pair each invoke with its end; None = its process never heard."""
    pending: dict[tuple[str, str, Any], Event] = {}
    for event in events:
        if "n" not in event or event["ty"] == "commit":
            continue
        key = (event["p"], event["f"], event["n"])
        if event["ty"] == "invoke":
            pending[key] = event
        elif key in pending:
            yield pending.pop(key), event
    for event in pending.values():
        yield event, None


def _windows_without_server(events: list[Event]) -> list[tuple[int, int]]:
    """When a fault was on that takes the server away."""
    begun: dict[str, int] = {}
    windows: list[tuple[int, int]] = []
    for event in events:
        if event["f"] == "nemesis" and event.get("exclusive"):
            if event["ty"] == "invoke":
                begun[event["name"]] = event["t"]
            else:
                windows.append((begun.pop(event["name"]), event["t"]))
    return windows
