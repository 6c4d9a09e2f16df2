"""The tool: `python -m tests.chaos run --seed 7`; `--help` says the rest."""

from __future__ import annotations

import secrets
import signal
import sys
import time
from typing import TYPE_CHECKING

import click

from tests.chaos import histories, mutants
from tests.chaos.checker import check
from tests.chaos.hunt import CONTROL_SECONDS, hunt
from tests.chaos.run import QUICK_WAKE_ROUNDS, WAKE_ROUNDS, Outcome, Plan, run

if TYPE_CHECKING:
    from collections.abc import Callable

SEEDS = 1_000_000
QUICK_SECONDS = 36.0
QUICK_JOBS = 3_000
_seed = click.option("--seed", type=int, help="Of every random choice; by default a new one.")
_pg = click.option("--pg", default=18, show_default=True, help="PostgreSQL's major version.")


@click.group()
def cli() -> None:
    """Plague pgqueue with faults, and check that it keeps its promises."""
    # So that a terminated run cleans up after itself.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))


@cli.command("run")
@_seed
@_pg
@click.option("--seconds", default=150.0, show_default=True, help="How long faults come.")
@click.option("--jobs", default=6_000, show_default=True, help="How many jobs are enqueued.")
@click.option("--workers", default=6, show_default=True, help="How many worker processes.")
@click.option("--quick", is_flag=True, help="36 s of faults and 3,000 jobs, for CI.")
@click.option("--only", multiple=True, help="A fault's name or a part of it; may be repeated.")
@click.option("--keep", is_flag=True, help="Leave the histories and the server's directory.")
def run_once(
    *,
    seed: int | None,
    pg: int,
    seconds: float,
    jobs: int,
    workers: int,
    quick: bool,
    only: tuple[str, ...],
    keep: bool,
) -> None:
    """Run once; exit 1 when something that must be zero is not."""
    if quick:
        seconds, jobs = min(seconds, QUICK_SECONDS), min(jobs, QUICK_JOBS)
    plan = Plan(
        seed=secrets.randbelow(SEEDS) if seed is None else seed,
        version=pg,
        seconds=seconds,
        jobs=jobs,
        workers=workers,
        wake_rounds=QUICK_WAKE_ROUNDS if quick else WAKE_ROUNDS,
        only=only,
        keep=keep,
        say=_say(),
    )
    sys.exit(0 if _shown(plan) else 1)


@cli.command()
@_pg
@click.option("--seconds", default=150.0, show_default=True, help="Of faults, per seed.")
@click.option("--jobs", default=6_000, show_default=True, help="Per seed.")
def soak(*, pg: int, seconds: float, jobs: int) -> None:
    """Run with new seeds until one fails, or until it is stopped."""
    for n in range(1, SEEDS):
        seed = secrets.randbelow(SEEDS)
        plan = Plan(seed=seed, version=pg, seconds=seconds, jobs=jobs, say=_say())
        if not _shown(plan):
            click.echo(f"run {n}: seed {seed} fails: make chaos SEED={seed} PG={pg}")
            sys.exit(1)
        click.echo(f"run {n}: seed {seed} is fine")


@cli.command("check")
@click.option("--jobs", default=1_000_000, show_default=True)
def check_many(*, jobs: int) -> None:
    """Measure the checker on a long clean history."""
    began = time.process_time()
    evidence = histories.many(jobs)
    written = time.process_time()
    verdict = check(evidence)
    took = time.process_time() - written
    click.echo(
        f"{jobs:,} jobs written in {written - began:.1f} s, checked in {took:.1f} s of CPU time"
    )
    sys.exit(1 if verdict.violations else 0)


@cli.command("mutants")
@_seed
@_pg
@click.option("--only", multiple=True, help="A mutant's name or a part of it; may be repeated.")
def hunt_mutants(*, seed: int | None, pg: int, only: tuple[str, ...]) -> None:
    """Break pgqueue on purpose, a little each time; exit 1 when one is not noticed."""
    seed = secrets.randbelow(SEEDS) if seed is None else seed
    click.echo(f"seed {seed}, PostgreSQL {pg}")
    chosen = [m for m in mutants.every() if not only or any(part in m.name for part in only)]
    missed = []
    for mutant in chosen:
        caught = hunt(mutant, version=pg, seed=seed)
        kinds = ", ".join(sorted(caught.kinds)) or "nothing"
        how = f"caught after {caught.seconds:4.1f} s" if caught.caught else "NOT CAUGHT"
        click.echo(f"{mutant.name:<22} {how}: {kinds}")
        missed += [] if caught.caught else [mutant.name]
    if not only:
        for with_flow in (False, True):
            control = hunt(
                None, version=pg, seed=seed, seconds=CONTROL_SECONDS, with_flow=with_flow
            )
            said = ", ".join(sorted(control.kinds)) or "nothing"
            click.echo(f"{'pgqueue as it is':<22} {control.seconds:4.1f} s: {said}")
            missed += ["pgqueue as it is: a false alarm"] if control.caught else []
    sys.exit(f"FAILED, seed {seed}: {', '.join(missed)}" if missed else 0)


def _say() -> Callable[[str], None]:
    began = time.monotonic()

    def say(text: str) -> None:
        click.echo(f"{time.monotonic() - began:6.1f} s  {text}")

    return say


def _shown(plan: Plan) -> bool:
    click.echo(f"seed {plan.seed}, PostgreSQL {plan.version}")
    outcome: Outcome = run(plan)
    width = max(len(name) for name, _ in outcome.rows)
    for name, value in outcome.rows:
        click.echo(f"{name:<{width}}  {value}")
    for text in outcome.broken:
        click.echo(f"BROKEN: {text}", err=True)
    click.echo("every promise was kept" if outcome.ok else f"FAILED, seed {plan.seed}")
    return outcome.ok


if __name__ == "__main__":
    cli()
