"""`python -m workers.numbers`: the producer, the consumer, and a look at the works."""

from __future__ import annotations

import asyncio
import datetime as dt
import sys
from typing import Any

import click

from pgqueue import Client, PgqueueError, Worker, load_app, log, new_job
from pgqueue.connection import connect

from .producer import demands
from .settings import Settings


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Demand work, do it, look for it. The database is PGQUEUE_DSN's, or libpq's PG* variables'."""


@main.command()
@click.option("--count", type=click.IntRange(1, 10_000), help="Default NUMBERS_COUNT, else 5.")
def produce(*, count: int | None) -> None:
    """Enqueue demands with random bounds, in one transaction."""
    settings = Settings.read()
    jobs = [
        new_job("work_demand", payload)
        for payload in demands(count or settings.count, settings.add_up_to_max)
    ]
    with Client() as client:
        click.echo(f"{len(client.enqueue_many(jobs))} demands enqueued")


@main.command()
@click.option("--drain", is_flag=True, help="Stop when there is nothing left to do.")
def consume(*, drain: bool) -> None:
    """Run a worker; the same as `pgqueue worker --app workers.numbers`."""
    log.configure()
    sys.exit(asyncio.run(Worker(load_app("workers.numbers"), drain=drain).run()))


@main.command()
@click.option("--since", type=click.DateTime(), help="Default: an hour ago. UTC.")
@click.option("--until", type=click.DateTime(), help="Default: now. UTC.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True)
def search(*, since: dt.datetime | None, until: dt.datetime | None, limit: int) -> None:
    """List works that were created in a range of time, oldest first."""
    now = dt.datetime.now(dt.UTC)
    end = until.replace(tzinfo=dt.UTC) if until else now
    start = since.replace(tzinfo=dt.UTC) if since else now - dt.timedelta(hours=1)
    with connect() as connection:
        rows: list[Any] = connection.execute(
            "select work_code, add_up_to, total, done, created_on"
            " from numbers.search_works(%s, %s, p_limit => %s)",
            [start, end, limit],
        ).fetchall()
    for code, bound, total, done, created in rows:
        told = f"= {total}" if done else "waits"
        click.echo(f"{created:%Y-%m-%d %H:%M:%S}  {code}  0 + ... + {bound} {told}")
    click.echo(f"{len(rows)} works")


if __name__ == "__main__":
    try:
        main()
    except PgqueueError as exc:
        click.echo(f"Error: {exc}", err=True)
        sys.exit(exc.exit_code)
