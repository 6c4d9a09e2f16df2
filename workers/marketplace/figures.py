"""Prime numbers, by a sieve in pieces of bounded size."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import isqrt
from typing import TYPE_CHECKING

from pgqueue import Fail, JobContext, job

if TYPE_CHECKING:
    from collections.abc import Iterator

END_MAX = 10**12
SPAN_MAX = 10**7
_PIECE = 1 << 18  # 256 KiB of sieve at a time


@dataclass(frozen=True, slots=True)
class Primes:
    """What was found; the job's result. *gap*: the largest distance between neighbours."""

    count: int
    first: int | None
    last: int | None
    gap: int


def primes_up_to(end: int) -> list[int]:
    """All of them; the sieve of Eratosthenes."""
    sieve = bytearray([1]) * (end + 1)
    sieve[:2] = bytes(min(2, end + 1))
    for number in range(2, isqrt(end) + 1):
        if sieve[number]:
            sieve[number * number :: number] = bytes(len(range(number * number, end + 1, number)))
    return [number for number, prime in enumerate(sieve) if prime]


def primes_between(start: int, end: int) -> Iterator[list[int]]:
    """Those from *start* up to and without *end*, piece by piece."""
    small = primes_up_to(isqrt(max(end - 1, 0)))
    for low in range(max(start, 2), end, _PIECE):
        high = min(low + _PIECE, end)
        sieve = bytearray([1]) * (high - low)
        for prime in small:
            begin = max(prime * prime, -(-low // prime) * prime) - low
            if begin < high - low:
                sieve[begin::prime] = bytes(len(range(begin, high - low, prime)))
        yield [low + place for place, prime in enumerate(sieve) if prime]


@job("prime_search", retries=2, timeout=120, isolation="process")
def prime_search(ctx: JobContext, start: int, end: int) -> Primes:
    """Count the primes from *start* up to and without *end*."""
    if not 0 <= start < end <= END_MAX or end - start > SPAN_MAX:
        raise Fail(
            f"{start} to {end} is no range of at most {SPAN_MAX} numbers from 0 to {END_MAX}",
            code="bad_range",
        )
    count, gap = 0, 0
    first: int | None = None
    last: int | None = None
    for found in primes_between(start, end):
        ctx.check_cancelled()
        if not found:
            continue
        known = found if last is None else [last, *found]
        gap = max([gap, *(right - left for left, right in pairwise(known))])
        first = found[0] if first is None else first
        last = found[-1]
        count += len(found)
        ctx.progress(100 * (last - start) / (end - start), f"{count} primes up to {last}")
    ctx.metrics.processed(end - start)
    return Primes(count, first, last, gap)
