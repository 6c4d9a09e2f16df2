from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from pgqueue import Registry, Schedule
from pgqueue.worker import Worker
from tests.support.cli import Cli
from tests.support.sqljobs import column, row, value

if TYPE_CHECKING:
    import psycopg

    Db = psycopg.Connection[Any]


@pytest.fixture
def cli(dsn: str) -> Cli:
    """The command line on the test's database."""
    return Cli(dsn)


def test_a_schedule_is_set_listed_run_and_removed(cli: Cli, db: Db) -> None:
    """The life of a schedule, by the command line alone."""
    told = cli.text("schedules", "set", "n", "--cron", "0 2 * * *", "--type", "t", "--jitter", "5m")
    job_id = cli.text("schedules", "run", "n").strip()
    (listed,) = cli.data("schedules", "list")
    (run,) = cli.data("schedules", "history", "n")
    cli.text("schedules", "remove", "n")

    assert told.startswith("schedule n set; next tick ")
    assert (listed["status"], listed["last_outcome"], listed["last_job_status"]) == (
        "active",
        "by_hand",
        "queued",
    )
    assert run["job_id"] == job_id == str(value(db, "select id from pgqueue.jobs"))
    assert cli.data("schedules", "list") == []


def test_pausing_shows_and_resuming_tells_the_next_tick(cli: Cli) -> None:
    """The list says that it is paused, and no next tick."""
    cli.text("schedules", "set", "n", "--cron", "@yearly", "--type", "t")
    cli.text("schedules", "pause", "n", "--reason", "month end")
    (paused,) = cli.data("schedules", "list")
    resumed = cli.data("schedules", "resume", "n")

    assert (paused["status"], paused["next_tick_at"]) == ("paused", None)
    assert paused["paused_reason"] == "month end"
    assert resumed["next_tick_at"].endswith("-01-01T00:00:00+00:00")


def test_next_ticks_of_an_expression(cli: Cli) -> None:
    """Without any schedule: to see what an expression means."""
    rows = cli.data(
        "schedules", "next", "--cron", "30 2 * * *", "--zone", "Europe/Berlin", "-n", "2",
        "--after", "2026-03-28T12:00Z",
    )  # fmt: skip

    assert [one["tick_at"] for one in rows] == [
        "2026-03-29T01:00:00+00:00",
        "2026-03-30T00:30:00+00:00",
    ]


@pytest.mark.parametrize("expression", ["0 2 * * mon-fri", "*/5 * * * *", "@daily"])
def test_an_expression_for_a_name_is_told_how_to_ask(cli: Cli, expression: str) -> None:
    """`next` takes a name; what looks like cron wants --cron."""
    refused = cli("schedules", "next", expression)

    assert refused.exit_code == 3
    assert "--cron" in refused.stderr


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("history", "nobody"), 3),
        (("next", "nobody"), 3),
        (("remove", "nobody"), 3),
        (("next",), 2),
        (("next", "n", "--cron", "@daily"), 2),
        (("pause", "nobody"), 2),
        (("set", "n", "--cron", "rubbish", "--type", "t"), 2),
    ],
)
def test_mistakes_end_with_a_message_and_an_exit_code(
    cli: Cli, words: tuple[str, ...], code: int
) -> None:
    """No traceback, and nothing half-done."""
    result = cli("schedules", *words)

    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output


def test_a_worker_registers_what_its_handlers_declare_and_runs_it(dsn: str, db: Db) -> None:
    """At its start; a drained worker then runs the job of a tick that is due."""
    registry = Registry()
    seen: list[int] = []

    @registry.job("count", schedule=Schedule(cron="@yearly", payload={"by": 7}, catch_up="one"))
    def count(by: int) -> None:
        seen.append(by)

    asyncio.run(Worker(registry, dsn=dsn, drain=True).run())
    declared = row(db, "select name, cron, operator_managed from pgqueue.schedules")
    db.execute("update pgqueue.schedules set next_tick_at = next_tick_at - interval '1 year'")
    db.execute("select * from pgqueue.maintain()")
    asyncio.run(Worker(registry, dsn=dsn, drain=True).run())

    assert declared == ("count", "@yearly", False)
    assert seen == [7]
    assert column(
        db, "select job_status from pgqueue.schedule_history where job_id is not null"
    ) == ["succeeded"]
