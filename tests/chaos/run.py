"""One run: load, faults, healing, drain, a calm minute's wake-ups, and the verdict."""

from __future__ import annotations

import signal
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psycopg

from tests.chaos import flow, nemeses
from tests.chaos.arena import Arena
from tests.chaos.checker import check
from tests.chaos.collect import UNFINISHED, evidence_of
from tests.chaos.machinery.proxy import Proxy
from tests.chaos.schedule import Slot, schedule

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.chaos.nemesis import Nemesis
    from tests.chaos.verdict import Verdict

PRODUCERS = 3
FLOW_PRODUCERS = 2
DRAIN_SECONDS = 120.0
PRODUCER_SECONDS = 120.0
WAKE_ROUNDS, QUICK_WAKE_ROUNDS = 8, 5
WAKE_SECONDS = 2.0
WAKE_PAUSE_SECONDS = 2.4
WAKE_POLL_SECONDS = 30.0  # so that a wake-up that is lost shows
STOP_SECONDS = 30.0
SHOWN = ("fsync", "synchronous_commit", "full_page_writes", "server_version")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """
    What a run does.

    Attributes:
        seed: Of everything random.
        version: Of PostgreSQL.
        seconds: How long faults come.
        jobs: How many are enqueued meanwhile; follow-ups come on top.
        workers: How many processes are kept running.
        wake_rounds: In the calm after it.
        only: Names of faults, or parts of them; empty: all.
        keep: Leave the arena's directory.
        say: Told what happens.
    """

    seed: int
    version: int = 18
    seconds: float = 150.0
    jobs: int = 6_000
    workers: int = 6
    wake_rounds: int = WAKE_ROUNDS
    only: tuple[str, ...] = ()
    keep: bool = False
    say: Callable[[str], None] = print


@dataclass(slots=True)
class Outcome:
    """How a run ended: figures for the table, and what must be nothing."""

    rows: list[tuple[str, str]] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    kinds: set[str] = field(default_factory=set)

    @property
    def ok(self) -> bool:
        """Whether everything that must be zero is."""
        return not self.broken


def run(plan: Plan) -> Outcome:
    """Do it all."""
    arena = Arena(plan.version, plan.seed, keep=plan.keep)
    arena.prepare = flow.prepare
    with ExitStack() as opened:
        opened.enter_context(arena)
        proxy = opened.enter_context(Proxy(arena.server.dsn(tcp=True), seed=plan.seed))
        arena.proxy = proxy
        way: dict[str, Any] = {"host": "127.0.0.1", "port": proxy.port, "sslmode": "disable"}
        began = time.monotonic()
        keep_workers(arena, plan.workers, way)
        start_load(arena, plan, way)
        steward = arena.start_producer("steward", kind="steward")
        slots, missing = prepared(arena, plan)
        plain = len(slots) // 3
        for slot in slots[:plain]:
            plague(arena, slot, plan.say)
        # Claims are others once there are limits: both have their time.
        flow.limit(arena)
        start_limited_load(arena, plan)
        for slot in slots[plain:]:
            plague(arena, slot, plan.say)
        healed_at = server_clock(arena)
        plan.say(f"healed after {time.monotonic() - began:.0f} s")
        await_producers(arena)
        drained = drain(arena, DRAIN_SECONDS)
        steward.send(signal.SIGTERM)
        recovered = server_clock(arena) - healed_at
        wake_up(arena, plan.wake_rounds)
        codes = stop_workers(arena)
        outcome = judge(arena, plan, drained=drained)
        outcome.rows += [
            ("recovered after the last heal, s", f"{recovered:.1f}"),
            *_processes(arena),
            ("faults", f"{len({n.name for s in slots for n in s.nemeses})} kinds"),
            *((f"  {n.name}", n.note) for n in _used(slots)),
            *((f"  not here: {name}", reason) for name, reason in missing),
        ]
        outcome.broken += [f"worker {name} ended with {code}" for name, code in codes if code]
    return outcome


def keep_workers(arena: Arena, count: int, way: dict[str, Any]) -> None:
    """Every third through the proxy."""
    arena.keep_workers(*({"route": way} if n % 3 == 2 else {} for n in range(count)))


def start_load(arena: Arena, plan: Plan, way: dict[str, Any]) -> None:
    """Start producers, an operator and a patient client; one producer through the proxy."""
    each = -(-plan.jobs // PRODUCERS)
    rate = each / max(1.0, plan.seconds)
    for n in range(PRODUCERS):
        route = way if n == 0 else None
        arena.start_producer(f"p{n + 1}", kind="mixed", jobs=each, rate=rate, route=route)
    arena.start_producer("operator", kind="operator", seconds=plan.seconds)
    arena.start_producer("patient", kind="patient", seconds=plan.seconds)
    for n in range(FLOW_PRODUCERS):
        works = plan.jobs / 12
        arena.start_producer(f"works{n + 1}", kind="works", jobs=works, rate=works / plan.seconds)


def start_limited_load(arena: Arena, plan: Plan) -> None:
    """What the limits are for, in the time that is left."""
    jobs = plan.jobs / 5
    arena.start_producer("limits", kind="limits", jobs=jobs, rate=1.7 * jobs / plan.seconds)


def prepared(arena: Arena, plan: Plan) -> tuple[list[Slot], list[tuple[str, str]]]:
    """Draw the schedule; and what this machine cannot do, with the reason."""
    usable: list[Nemesis] = []
    missing: list[tuple[str, str]] = []
    for nemesis in nemeses.every():
        if plan.only and not any(part in nemesis.name for part in plan.only):
            continue
        reason = nemesis.missing(arena)
        if reason is None:
            usable.append(nemesis)
        else:
            missing.append((nemesis.name, reason))
            plan.say(f"skipped: {nemesis.name}: {reason}")
    return schedule(usable, plan.seconds, plan.seed), missing


def plague(arena: Arena, slot: Slot, say: Callable[[str], None]) -> None:
    """Have the faults of one slot, and then none."""
    say(" + ".join(nemesis.name for nemesis in slot.nemeses))
    with ExitStack() as faults:
        for nemesis in slot.nemeses:
            faults.enter_context(nemesis.on(arena))
        time.sleep(slot.seconds)


def await_producers(arena: Arena) -> None:
    """They end by themselves."""
    deadline = time.monotonic() + PRODUCER_SECONDS
    for producer in arena.producers:
        if producer.name == "steward":
            continue
        code = producer.ends(max(1.0, deadline - time.monotonic()))
        if code != 0:
            arena.errors.append(f"producer {producer.name} ended with {code}: {producer.said}")


def drain(arena: Arena, seconds: float) -> bool:
    """Wait until every job has finished; False = they do not."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            with arena.db() as db:
                row = db.execute(UNFINISHED).fetchone()
        except psycopg.OperationalError:
            row = None
        if row is not None and row[0] == 0:
            return True
        time.sleep(0.1)
    return False


def wake_up(arena: Arena, rounds: int) -> None:
    """In the calm: one worker that sleeps, and producers that commit late."""
    arena.start_worker("sleeper", queues=("wake",), poll_seconds=WAKE_POLL_SECONDS)
    producer = arena.start_producer(
        "waker", kind="wake", queue="wake", jobs=rounds, pause=WAKE_PAUSE_SECONDS
    )
    if producer.ends(PRODUCER_SECONDS) != 0:
        arena.errors.append(f"waker: {producer.said}")
    drain(arena, WAKE_SECONDS + 2)


def stop_workers(arena: Arena) -> list[tuple[str, int]]:
    """SIGTERM to those that are left, and how they ended."""
    arena.keep_workers()
    time.sleep(0.5)  # the keeper looks five times a second
    left = arena.alive
    for worker in left:
        worker.send(signal.SIGCONT)
        worker.send(signal.SIGTERM, group=False)
    return [(worker.name, worker.ends(STOP_SECONDS)) for worker in left]


def server_clock(arena: Arena) -> float:
    """Epoch seconds by the server's clock."""
    with arena.db() as db:
        row = db.execute("select extract(epoch from clock_timestamp())::float8").fetchone()
    assert row is not None
    return float(row[0])


def judge(arena: Arena, plan: Plan, *, drained: bool) -> Outcome:
    """Collect, check, count."""
    outcome = Outcome()
    events = arena.events()
    with arena.db() as db:
        evidence = evidence_of(db, events)
        evidence.wake_seconds = WAKE_SECONDS
        settings = [(name, str(db.execute(f"show {name}").fetchone()[0])) for name in SHOWN]  # type: ignore[index]
    began = time.process_time()
    verdict = check(evidence)
    outcome.kinds = verdict.kinds
    outcome.rows = [
        *_table(verdict),
        ("events checked", f"{len(events):,} in {time.process_time() - began:.1f} s"),
        ("seed", str(plan.seed)),
        *settings,
    ]
    if verdict.violations:
        outcome.broken.append(verdict.explain(evidence, plan.seed))
    if not drained and not verdict.violations:
        outcome.broken.append("jobs were left over")
    outcome.broken += arena.errors
    return outcome


def _processes(arena: Arena) -> list[tuple[str, str]]:
    """How the worker processes ended; a traceback is shown, for none is expected."""
    ended = (worker.process.poll() for worker in arena.workers)
    codes = Counter(code for code in ended if code is not None)
    killed = sum(n for code, n in codes.items() if code < 0)
    others = ", ".join(f"{n} with {code}" for code, n in sorted(codes.items()) if code > 0)
    torn = [worker for worker in arena.workers if "Traceback" in worker.said]
    rows = [
        (
            "worker processes",
            f"{len(arena.workers)}: {killed} killed, {codes[0]} ended by themselves",
        ),
        ("  ended otherwise", others or "none"),
        ("  with a traceback in the log", str(len(torn))),
    ]
    return rows + [
        (f"  {worker.name}", worker.said.partition("Traceback")[2]) for worker in torn[:2]
    ]


def _table(verdict: Verdict) -> list[tuple[str, str]]:
    counts = verdict.counts
    kinds: dict[str, int] = {}
    for violation in verdict.violations:
        kinds[violation.kind] = kinds.get(violation.kind, 0) + 1
    asked = [counts[f"enqueue {ty}"] for ty in ("ok", "fail", "info", "follow")]
    ended = [counts[s] for s in ("succeeded", "partial", "failed", "cancelled")]
    duplicated = sum(kinds.get(k, 0) for k in ("done_twice", "after_done", "two_owners", "effect"))
    zero = {
        "lost": counts["lost"],
        "unexpected": kinds.get("phantom", 0) + kinds.get("ghost", 0),
        "duplicated": duplicated,
        "stale accepted": kinds.get("stale", 0),
    }
    rows = {
        "attempted": sum(asked[:3]),
        "acknowledged": asked[0],
        "refused, rolled back or served by another": asked[1],
        "unknown, even to pg_xact_status": asked[2],
        "follow-ups asked for by handlers": asked[3],
        "finished": sum(ended),
        "  succeeded": ended[0] + ended[1],
        "  failed": ended[2],
        "  cancelled": ended[3],
        "claims": counts["claimed"],
        "redelivered after a loss": counts["attempt lost"] + counts["attempt timed_out"],
        "stale refused": counts["stale refused"],
        "effects in the ledger": counts["effects"],
        "claims checked for order": counts["order checked"],
        "leases of long transactions": counts["leases checked"],
        "starts at gates": counts["gated"],
        "batches": counts["batches"],
        "jobs resumed by a signal": counts["resumed"],
        "charges": counts["charges"],
        "wake-ups in the calm": counts["wake-ups checked"],
        "  the slowest, ms": counts["slowest wake-up, ms"],
        **zero,
        "all violations": len(verdict.violations),
    }
    return [(name, f"{value:,}") for name, value in rows.items()]


def _used(slots: Sequence[Slot]) -> list[Nemesis]:
    seen = {nemesis.name: nemesis for slot in slots for nemesis in slot.nemeses}
    return [seen[name] for name in sorted(seen)]
