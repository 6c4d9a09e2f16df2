"""Order: among jobs that may run, the smaller (priority, position) of a queue goes first."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from heapq import heappop, heappush
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator, Mapping

    from tests.chaos.evidence import Claim, Evidence, Job

Key = tuple[int, int]
# key, when it could be claimed, when a claim that may have taken it began, its job
_Waiting = tuple[Key, int, int, "Job"]


def inversions(
    evidence: Evidence, straight: Mapping[int, Job], counts: Counter[str]
) -> Iterator[tuple[str, str, Job | None]]:
    """
    Yield the jobs that were overtaken for certain.

    A job counts as waiting from the acknowledgement of its enqueue until the claim that took it was
    asked for. It was overtaken when a claim without floors, begun after the one and answered before
    the other, took a later job of its queue. Floors are excepted: they may miss what was committed
    late, which is what claims without them are for. So are times when a claim was under way that
    nobody knows the end of: it may have locked the job. Jobs with limits wait for more than that.
    Once there are some, a claim that looks behind parked jobs has others in its hands for a
    moment: from then on only claims count that no other overlapped.

    Args:
        evidence: The run.
        straight: Tokens of jobs that went from their insert to this claim without being moved.
        counts: Told how many claims could have shown an inversion.
    """
    waiting: dict[str, list[_Waiting]] = defaultdict(list)
    asks: dict[str, list[tuple[int, int, Key, Job]]] = defaultdict(list)
    alone = _alone(evidence.claims) if evidence.flow.gates else set()
    for n, claim in enumerate(evidence.claims):
        worst: dict[str, tuple[Key, Job]] = {}
        for job, token, queue, priority, pos in claim.got:
            key = (priority, pos)
            if queue not in worst or key > worst[queue][0]:
                worst[queue] = (key, job)
            acked = evidence.acked.get(job)
            free = job not in evidence.touched and job not in evidence.flow.gates
            if acked is not None and straight.get(token) == job and free:
                waiting[queue].append((key, acked, claim.asked, job))
        before_limits = not evidence.flow.gates or claim.answered < evidence.flow.limited_at
        if claim.sweep and (before_limits or n in alone):
            counts["order checked"] += bool(worst)
            for queue, (key, job) in worst.items():
                asks[queue].append((claim.asked, claim.answered, key, job))
    windows = merged(evidence.windows)
    for queue, asked in asks.items():
        yield from _in_queue(queue, waiting[queue], asked, windows)


def _alone(claims: list[Claim]) -> set[int]:
    """The places of those that no other overlapped."""
    found: set[int] = set()
    last, until = -1, 0
    for n in sorted(range(len(claims)), key=lambda n: claims[n].asked):
        if claims[n].asked < until:
            found.discard(last)
        else:
            found.add(n)
        if claims[n].answered > until:
            last, until = n, claims[n].answered
    return found


def _in_queue(
    queue: str,
    waiting: list[_Waiting],
    asks: list[tuple[int, int, Key, Job]],
    windows: list[tuple[int, int]],
) -> Iterator[tuple[str, str, Job | None]]:
    waiting.sort(key=lambda one: one[1])
    asks.sort(key=lambda ask: ask[0])
    heap: list[tuple[Key, int, int]] = []  # key, taken at, index
    arrived = 0
    for asked, answered, worst, job in asks:
        while arrived < len(waiting) and waiting[arrived][1] < asked:
            heappush(heap, (waiting[arrived][0], waiting[arrived][2], arrived))
            arrived += 1
        passed: list[tuple[Key, int, int]] = []
        while heap and heap[0][0] < worst:
            one = heappop(heap)
            if one[1] > asked:  # not taken before; perhaps at the same time
                passed.append(one)
            if one[1] > answered and not _overlaps(windows, asked, answered):
                text = f"in {queue}: {job} {worst} was claimed before it, {one[0]}"
                yield "inversion", text, waiting[one[2]][3]
                break
        for one in passed:
            heappush(heap, one)


def merged(windows: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The same windows, sorted and disjoint."""
    out: list[tuple[int, int]] = []
    for begun, ended in sorted(windows):
        if out and begun <= out[-1][1]:
            out[-1] = (out[-1][0], max(ended, out[-1][1]))
        else:
            out.append((begun, ended))
    return out


def _overlaps(windows: list[tuple[int, int]], begun: int, ended: int) -> bool:
    n = bisect_right(windows, (ended, ended))
    return n > 0 and windows[n - 1][1] >= begun
