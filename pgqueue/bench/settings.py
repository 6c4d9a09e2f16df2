"""What to measure, and for how long."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from pgqueue.errors import ConfigurationError

__all__ = ["BenchSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchSettings:
    """
    The size of a benchmark.

    Attributes:
        runs: How often each case is measured; the median counts.
        long_runs: The same for cases that last `long_seconds`, and for growth and features.
        seconds: How long one enqueueing case lasts.
        long_seconds: How long a steady rate or a held snapshot lasts.
        jobs: How many jobs a drain has.
        heavy_jobs: How many jobs with the heaviest features.
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
    long_runs: int = 3
    seconds: float = 10.0
    long_seconds: float = 60.0
    jobs: int = 100_000
    heavy_jobs: int = 100_000
    latency_jobs: int = 100
    producers: tuple[int, ...] = (1, 8, 32, 64)
    processes: tuple[int, ...] = (1, 4)
    rates: tuple[int, ...] = (1_000, 5_000)
    idle_workers: int = 64
    scale: float = 1.0

    def __post_init__(self) -> None:
        for name, value, least, most in (
            ("runs", self.runs, 1, 99),
            ("long runs", self.long_runs, 1, 99),
            ("seconds", self.seconds, 0.5, 3_600),
            ("long seconds", self.long_seconds, 2, 3_600),
            ("jobs", self.jobs, 100, 10_000_000),
            ("latencies", self.latency_jobs, 2, 10_000),
            ("scale", self.scale, 0.0001, 10),
        ):
            if not least <= value <= most:
                raise ConfigurationError(f"{name} must be {least:g} to {most:g}, not {value!r}")

    @property
    def warm_seconds(self) -> float:
        """
        How long an idle worker runs before its latency is measured.

        Longer than the 10 s within which its claims wait for their flush, unless the long cases are
        shorter still.
        """
        return min(11.0, self.long_seconds)

    @classmethod
    def of(
        cls,
        *,
        quick: bool = False,
        runs: int | None = None,
        long_runs: int | None = None,
        seconds: float | None = None,
        long_seconds: float | None = None,
        jobs: int | None = None,
        latencies: int | None = None,
        scale: float | None = None,
    ) -> BenchSettings:
        """
        What the command line says; None means the default.

        Args:
            quick: Every case, small and once: does it work, and where about are we?
            runs: As the attribute; of the long cases too, unless they have their own number.
            long_runs: As the attribute.
            seconds: As the attribute.
            long_seconds: As the attribute.
            jobs: As the attribute; of the heavy ones too.
            latencies: Of each case of that workload.
            scale: As the attribute.
        """
        said = {
            "runs": runs,
            "long_runs": runs if long_runs is None else long_runs,
            "seconds": seconds,
            "long_seconds": long_seconds,
            "jobs": jobs,
            "heavy_jobs": jobs,
            "latency_jobs": latencies,
            "scale": scale,
        }
        given: dict[str, Any] = {name: value for name, value in said.items() if value is not None}
        return replace(_QUICK if quick else cls(), **given)

    def __str__(self) -> str:
        return (
            f"{self.runs} runs of {self.seconds:g} s and {self.jobs:,} jobs; long cases"
            f" {self.long_runs} of {self.long_seconds:g} s and {self.heavy_jobs:,} jobs;"
            f" {self.latency_jobs} latencies each; growth times {self.scale:g}"
        )


_QUICK = BenchSettings(
    runs=1,
    long_runs=1,
    seconds=1.0,
    long_seconds=4.0,
    jobs=10_000,
    heavy_jobs=2_000,
    latency_jobs=15,
    scale=0.01,
)
