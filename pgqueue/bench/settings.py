"""What to measure, and for how long."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pgqueue.errors import ConfigurationError

__all__ = ["BenchSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchSettings:
    """
    The size of a benchmark.

    Attributes:
        runs: How often each case is measured; the median counts.
        seconds: How long one enqueueing case lasts.
        long_seconds: How long a steady rate or a held snapshot lasts.
        jobs: How many jobs a drain has.
        latency_jobs: How many jobs are sent to an idle worker, one at a time.
        producers: How many connections enqueue at once.
        processes: How many worker processes drain.
        rates: Jobs per second of the steady loads.
        idle_workers: How many workers wait for one job.
        scale: Of the sizes of the growth workload; 1 = 10 million finished jobs.

    Raises:
        ConfigurationError: A size that makes no sense.
    """

    runs: int = 3
    seconds: float = 10.0
    long_seconds: float = 60.0
    jobs: int = 100_000
    latency_jobs: int = 100
    producers: tuple[int, ...] = (1, 8, 32, 64)
    processes: tuple[int, ...] = (1, 4)
    rates: tuple[int, ...] = (1_000, 5_000)
    idle_workers: int = 64
    scale: float = 0.1

    def __post_init__(self) -> None:
        for name, value, least, most in (
            ("runs", self.runs, 1, 99),
            ("seconds", self.seconds, 0.5, 3_600),
            ("jobs", self.jobs, 100, 10_000_000),
            ("scale", self.scale, 0.0001, 10),
        ):
            if not least <= value <= most:
                raise ConfigurationError(f"{name} must be {least:g} to {most:g}, not {value!r}")

    @classmethod
    def of(
        cls,
        *,
        quick: bool = False,
        runs: int | None = None,
        seconds: float | None = None,
        jobs: int | None = None,
        scale: float | None = None,
    ) -> BenchSettings:
        """
        What the command line says; None means the default.

        Args:
            quick: Small sizes, to see that it works: the figures mean little.
            runs: As the attribute.
            seconds: Of a short case; a long one lasts six times as long.
            jobs: As the attribute.
            scale: As the attribute.
        """
        chosen = _QUICK if quick else cls()
        if runs is not None:
            chosen = replace(chosen, runs=runs)
        if seconds is not None:
            chosen = replace(chosen, seconds=seconds, long_seconds=6 * seconds)
        if jobs is not None:
            chosen = replace(chosen, jobs=jobs)
        if scale is not None:
            chosen = replace(chosen, scale=scale)
        return chosen


_QUICK = BenchSettings(
    runs=1,
    seconds=1.0,
    long_seconds=4.0,
    jobs=5_000,
    latency_jobs=15,
    producers=(1, 8),
    processes=(1, 2),
    rates=(500,),
    idle_workers=16,
    scale=0.001,
)
