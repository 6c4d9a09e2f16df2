"""Corruptions of limits, orders, batches, signals, quotas and money; see `corruption`."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from tests.chaos.flow_histories import PRICE, STEP_SECONDS

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from tests.chaos.evidence import Entry, Evidence, Job, Money


def _places(evidence: Evidence, job: Job, *entered: str) -> list[int]:
    log = cast("list[Entry]", evidence.log)
    return [n for n, entry in enumerate(log) if entry.job == job and entry.entered in entered]


def _later(evidence: Evidence, at: int, after: int) -> None:
    log = cast("list[Entry]", evidence.log)
    log.insert(after, log.pop(at))


def over_limit(evidence: Evidence, draw: random.Random) -> None:
    """A third starts before one of two has ended."""
    n = draw.randrange(2, 6)
    (ended,) = _places(evidence, f"limited {n - 2}", "finished")
    (started,) = _places(evidence, f"limited {n}", "running")
    _later(evidence, ended, started)


def early_start(evidence: Evidence, draw: random.Random) -> None:
    """A start comes before its token."""
    log = cast("list[Entry]", evidence.log)
    (at,) = _places(evidence, f"limited {draw.randrange(1, 6)}", "running")
    early = (log[at].until or 0.0) - STEP_SECONDS
    log[at] = log[at]._replace(until=early + draw.uniform(-0.001, 0.001))


def overlap_in_order(evidence: Evidence, draw: random.Random) -> None:
    """Two of one ordering key run at once."""
    n = draw.choice((1, 2, 4))
    ended = _places(evidence, f"ordered {n - 1}", "finished")[-1]
    started = _places(evidence, f"ordered {n}", "running")[0]
    _later(evidence, ended, started)


def out_of_order(evidence: Evidence, draw: random.Random) -> None:
    """One that came later was given its place earlier."""
    log = cast("list[Entry]", evidence.log)
    one, two = sorted(draw.sample((0, 1, 3, 4), 2))
    for n, token in ((one, two + 1), (two, one + 1)):
        (at,) = _places(evidence, f"ordered {n}", "order")
        log[at] = log[at]._replace(token=token)


def not_blocked(evidence: Evidence, draw: random.Random) -> None:
    """A failed job does not block those behind it, though it should."""
    del draw
    evidence.flow.skipped.clear()


def batch_miscounts(evidence: Evidence, draw: random.Random) -> None:
    """One more, or one less, than there are."""
    batches = evidence.flow.batches
    n = draw.randrange(len(batches))
    counts = list(batches[n].counts)
    counts[draw.randrange(4)] += draw.choice((-1, 1))
    batches[n] = batches[n]._replace(counts=cast("tuple[int, int, int, int]", tuple(counts)))


def left_out(evidence: Evidence, draw: random.Random) -> None:
    """A job that was acknowledged in a batch is in another."""
    evidence.flow.joined[f"batch 0 {draw.randrange(3)}"] = "batch 1"


def _callback(change: int) -> Callable[[Evidence, random.Random], None]:
    def corrupt(evidence: Evidence, draw: random.Random) -> None:
        callbacks = draw.choice(evidence.flow.batches).callbacks
        callbacks[draw.choice(list(callbacks))] += change

    corrupt.__doc__ = "A callback is missing, or there twice."
    return corrupt


def wrong_callback(evidence: Evidence, draw: random.Random) -> None:
    """Success is told of a batch that failed, or the reverse."""
    batch = draw.choice(evidence.flow.batches)
    names = {"success": "failure", "failure": "success", "complete": "complete"}
    told = {names[event]: n for event, n in batch.callbacks.items()}
    batch.callbacks.clear()
    batch.callbacks.update(told)


def deaf(evidence: Evidence, draw: random.Random) -> None:
    """It waits for what it has."""
    del draw
    evidence.flow.unheard.append("asking")


def resumed_twice(evidence: Evidence, draw: random.Random) -> None:
    """An attempt does not see the signal, and waits again."""
    log = cast("list[Entry]", evidence.log)
    blocked = _places(evidence, "asking", "blocked")[0]
    ready = _places(evidence, "asking", "ready")[1]
    pair = [log[blocked], log[ready]]
    at = draw.randrange(ready + 1, _places(evidence, "asking", "running")[1] + 1)
    log[at:at] = pair


def untold(evidence: Evidence, draw: random.Random) -> None:
    """It goes on, and nobody had told it."""
    del draw
    evidence.flow.told.clear()


def over_quota(evidence: Evidence, draw: random.Random) -> None:
    """A third comes in where two may wait."""
    del draw
    (started,) = _places(evidence, "small 0", "running")
    _later(evidence, started, _places(evidence, "small 2", "ready")[0])


def _rows(evidence: Evidence, what: str) -> list[int]:
    return [n for n, row in enumerate(evidence.flow.money) if row.what == what]


def charged_twice(evidence: Evidence, draw: random.Random) -> None:
    """And the balance says so, too."""
    money = evidence.flow.money
    money.append(money[draw.choice(_rows(evidence, "charge"))])
    evidence.flow.wallets[1] = (0, 0)


def not_charged(evidence: Evidence, draw: random.Random) -> None:
    """A job succeeded for nothing."""
    evidence.flow.money.pop(draw.choice(_rows(evidence, "charge")))
    evidence.flow.wallets[1] = (2 * PRICE, 0)


def charged_in_vain(evidence: Evidence, draw: random.Random) -> None:
    """The job that failed is charged for."""
    money: list[Money] = evidence.flow.money
    (n,) = [n for n in _rows(evidence, "unreserve") if money[n].job == "paid 1"]
    money.insert(n + draw.randrange(2), money[n]._replace(what="charge", amount=-PRICE))
    evidence.flow.wallets[1] = (0, 0)


def wrong_sum(evidence: Evidence, draw: random.Random) -> None:
    """Balance or pending is not what was entered."""
    change = draw.choice(((1, 0), (0, 1), (-1, 0), (PRICE, PRICE)))
    balance, pending = evidence.flow.wallets[1]
    evidence.flow.wallets[1] = (balance + change[0], pending + change[1])


def overdrawn(evidence: Evidence, draw: random.Random) -> None:
    """Jobs were let in for money that had not come."""
    money = evidence.flow.money
    money.insert(draw.randrange(1, 4), money.pop(0))


def lost_deposit(evidence: Evidence, draw: random.Random) -> None:
    """Money was acknowledged and is not there."""
    evidence.flow.deposits[f"another {draw.random()}"] = ("ok", 5)


def kept_reservation(evidence: Evidence, draw: random.Random) -> None:
    """A job that has ended still has money reserved."""
    evidence.flow.money.pop(draw.choice(_rows(evidence, "unreserve")))
    evidence.flow.wallets[1] = (PRICE, PRICE)


FLOW_KINDS: dict[str, tuple[Callable[[Evidence, random.Random], None], set[str]]] = {
    "over a concurrency limit": (over_limit, {"limit"}),
    "early start": (early_start, {"rate"}),
    "overlap in an order": (overlap_in_order, {"limit", "disorder"}),
    "out of order": (out_of_order, {"disorder"}),
    "failed job not blocking": (not_blocked, {"disorder"}),
    "batch miscounts": (batch_miscounts, {"batch"}),
    "left out of its batch": (left_out, {"batch"}),
    "callback twice": (_callback(1), {"callback"}),
    "callback missing": (_callback(-1), {"callback"}),
    "wrong callback": (wrong_callback, {"callback"}),
    "deaf": (deaf, {"unheard"}),
    "resumed twice": (resumed_twice, {"resumed"}),
    "resumed untold": (untold, {"resumed"}),
    "over quota": (over_quota, {"quota"}),
    "charged twice": (charged_twice, {"charge"}),
    "not charged": (not_charged, {"charge"}),
    "charged in vain": (charged_in_vain, {"charge"}),
    "wrong sum": (wrong_sum, {"money"}),
    "overdrawn": (overdrawn, {"overdrawn"}),
    "lost deposit": (lost_deposit, {"money"}),
    "kept reservation": (kept_reservation, {"money"}),
}
