"""Schedules, cron and feeds attacked: bombs, long histories and arguments that make no sense."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.sqljobs import claim, column, refused, report, row, value, worker

if TYPE_CHECKING:
    from tests.support.sqljobs import Db

_MANY = 50_000


def _buffers(db: Db, query: str, *values: Any) -> int:
    found = row(db, f"explain (analyze, buffers, format json) {query}", *values)[0][0]["Plan"]
    return int(found["Shared Hit Blocks"]) + int(found["Shared Read Blocks"])


def test_the_latest_ticks_of_a_dense_month_are_found_from_afar(db: Db) -> None:
    """Each second of January, missed until March: its 700,000 ticks are not walked for three."""
    db.execute("set statement_timeout = '20 s'")
    found = column(
        db,
        "select unnest(pgqueue.latest_ticks("
        "'* * * * 1 *', 'UTC', '2026-01-01 00:00Z', '2026-03-10 00:00Z', 3))",
    )

    assert [f"{tick:%m-%d %H:%M:%S}" for tick in found] == [
        "01-31 23:59:57",
        "01-31 23:59:58",
        "01-31 23:59:59",
    ]


_THREE_DAYS = ("2026-02-08 12:30:00.5Z", "2026-02-10 03:00Z")


@pytest.mark.parametrize("count", [1, 2, 50])
@pytest.mark.parametrize(
    ("cron", "bounds"),
    [
        ("*/7 * * * *", _THREE_DAYS),
        # Each second of Monday the 9th, whose 86,400 ticks nobody writes down: its first, its last.
        ("* * * * * 1", ("2026-02-08 12:30:00.5Z", "2026-02-09 00:10Z")),
        ("* * * * * 1", ("2026-02-09 23:50:00.5Z", "2026-02-10 03:00Z")),
        ("0 0 * * *", _THREE_DAYS),
        ("*/5 * 3 * * *", _THREE_DAYS),
        ("0 3 1 * *", _THREE_DAYS),
    ],
)
def test_the_latest_ticks_are_the_last_of_all(
    db: Db, cron: str, bounds: tuple[str, str], count: int
) -> None:
    """As if all ticks between the bounds had been written down; the bounds are half open."""
    found = value(db, "select pgqueue.latest_ticks(%s, 'UTC', %s, %s, %s)", cron, *bounds, count)
    every = [
        tick
        for (tick,) in db.execute(
            """with recursive ticks (at) as (
                select pgqueue.next_tick(%(cron)s, 'UTC', %(low)s::timestamptz - interval '1 s')
                union all
                select pgqueue.next_tick(%(cron)s, 'UTC', at) from ticks where at < %(high)s
            )
            select at from ticks where at >= %(low)s and at < %(high)s order by at""",
            {"cron": cron, "low": bounds[0], "high": bounds[1]},
        )
    ]

    assert found == every[-count:]


def test_a_rare_day_is_not_looked_for_again_at_each_change_of_the_clock(db: Db) -> None:
    """The fifth Monday of February comes every 28 years; 56 changes of the clock lie between."""

    def calls(zone: str) -> int:
        db.execute("begin")
        db.execute("set local track_functions = 'all'")
        db.execute("select pgqueue.next_tick('0 * * 2 1#5', %s, '2044-03-05')", (zone,))
        found = int(
            value(
                db,
                "select pg_stat_get_xact_function_calls("
                "'pgqueue.cron_dow(integer[], integer[], date)'::regprocedure)",
            )
        )
        db.execute("rollback")
        return found

    assert 0 < calls("Europe/Berlin") <= calls("UTC") + 100


@pytest.mark.parametrize(
    "zone", ["Europe/Berlin+2", "Europe/Nowhere5", "Foo/Bar9Baz", "Etc/GMT+99"]
)
def test_a_zone_that_only_posix_can_read_is_refused(db: Db, zone: str) -> None:
    """PostgreSQL takes Europe/Berlin+2 for two hours behind UTC, all year."""
    with refused("PQ006"):
        value(db, "select pgqueue.next_tick('@daily', %s)", zone)


def test_every_zone_of_the_server_with_a_slash_is_known(db: Db) -> None:
    """What pg_timezone_names lists can be used, but for names that are not places."""
    found = column(
        db,
        r"""select name from pg_timezone_names
        where name ~ '/' and name !~ '^(posix|right|SystemV)/'
            and name !~ '^Etc/GMT(0|[+-][0-9]|[+]1[0-2]|-1[0-4])$'
            and name !~ '^[A-Za-z_]+(/[A-Za-z_-]+){1,2}$'""",
    )

    assert found == []


def test_the_run_before_is_found_behind_runs_that_made_no_job(db: Db) -> None:
    """A job that takes a day, a schedule of every second: a tick does not read what was skipped."""
    db.execute("select pgqueue.set_schedule('s', '@hourly', 't', p_overlap => 'skip')")
    db.execute("select pgqueue.run_schedule_now('s')")
    db.execute(
        """insert into pgqueue.schedule_runs (schedule, tick_at, outcome)
        select 's', now() + n * interval '1 s', 'skipped' from generate_series(1, %s) n""",
        (_MANY,),
    )
    query = "select pgqueue.run_tick(s, %s) from pgqueue.schedules s"
    _buffers(db, query, "2050-01-01 00:00Z")

    assert _buffers(db, query, "2050-01-01 00:00:01Z") < 50
    assert value(db, "select outcome from pgqueue.schedule_runs order by tick_at desc limit 1") == (
        "skipped"
    )


def test_the_run_whose_job_goes_on_is_not_forgotten(db: Db) -> None:
    """A job may take longer than the retention: the next tick is skipped nevertheless."""
    db.execute("select pgqueue.set_schedule('s', '@hourly', 't', p_overlap => 'skip')")
    for _ in range(2):
        db.execute("select pgqueue.run_schedule_now('s')")
    db.execute("update pgqueue.settings set retention = '0'")
    forgotten = value(db, "select pgqueue.forget_schedule_runs()")
    made = value(db, "select pgqueue.run_tick(s, clock_timestamp()) from pgqueue.schedules s")
    db.execute("select pgqueue.remove_schedule('s')")
    value(db, "select pgqueue.forget_schedule_runs()")

    assert (forgotten, made) == (1, False)
    assert value(db, "select count(*) from pgqueue.schedule_runs") == 0


def test_a_tick_that_a_trigger_refuses_does_not_hold_back_the_next(db: Db) -> None:
    """An application's own rule (P0001): written down as refused, and the schedule goes on."""
    db.execute(
        """create function public.no() returns trigger language plpgsql
        as $$ begin raise exception 'not on Sundays'; end $$"""
    )
    db.execute(
        "create trigger no before insert on pgqueue.jobs for each row execute function public.no()"
    )
    db.execute("select pgqueue.set_schedule('s', '@yearly', 't')")
    db.execute("update pgqueue.schedules set next_tick_at = next_tick_at - interval '1 year'")
    db.execute("select * from pgqueue.run_schedules()")

    assert row(
        db, "select outcome, error from pgqueue.schedule_runs where outcome <> 'missed'"
    ) == (
        "refused",
        "not on Sundays",
    )
    assert value(db, "select next_tick_at > now() from pgqueue.schedules")


def test_a_great_backlog_of_ticks_is_run_in_parts(db: Db) -> None:
    """40 schedules, 1,000 ticks behind each: a call stops soon after a second; none is lost."""
    db.execute("set statement_timeout = '60 s'")
    for n in range(40):
        db.execute(
            "select pgqueue.set_schedule(%s, '* * * * * *', 't', p_grace => '1 day')", (f"s{n}",)
        )
    db.execute(
        """update pgqueue.schedules
        set next_tick_at = date_trunc('second', clock_timestamp()) - interval '2000 s'"""
    )
    made, next_tick_at = row(db, "select * from pgqueue.run_schedules()")

    assert 1000 <= made < 40_000
    assert next_tick_at < value(db, "select clock_timestamp() - interval '1000 s'")
    assert (
        value(
            db,
            "select count(*) from pgqueue.schedules"
            " where next_tick_at > clock_timestamp() - interval '1500 s'",
        )
        == made // 1000
    )


@pytest.mark.parametrize("key", ["timeout_seconds", "grace_seconds", "jitter_seconds"])
@pytest.mark.parametrize("seconds", ["1e20", "-1e300", '"NaN"', '"Infinity"'])
def test_seconds_beyond_reason_are_refused_in_a_schedule(db: Db, key: str, seconds: str) -> None:
    """PostgreSQL 15 and 16 turn 1e20 seconds into a negative interval."""
    with refused("PQ006"):
        db.execute(
            "select pgqueue.register_schedules(%s::jsonb)",
            (f'[{{"name": "s", "cron": "@daily", "job_type": "t", "{key}": {seconds}}}]',),
        )


@pytest.mark.parametrize("key", ["delay_seconds", "timeout_seconds"])
@pytest.mark.parametrize("seconds", ["1e20", '"NaN"'])
def test_seconds_beyond_reason_are_refused_in_a_job(db: Db, key: str, seconds: str) -> None:
    """Else a job that is to wait for ever runs at once on PostgreSQL 15."""
    with refused("PQ006"):
        db.execute(
            "select * from pgqueue.enqueue_many(%s::jsonb)",
            (f'[{{"job_type": "t", "{key}": {seconds}}}]',),
        )


def test_an_acknowledgement_does_not_read_the_feed(db: Db) -> None:
    """Ten of 50,000 completions of forty tenants: buffers follow the ten."""
    db.execute(
        """insert into pgqueue.completions (feed, tenant_id, job_id, job_type, status, finished_at)
        select 'f', 'tenant ' || n %% 40, gen_random_uuid(), 't', 'succeeded', now()
        from generate_series(1, %s) n""",
        (_MANY,),
    )
    query = "select pgqueue.ack_completions('f', %s)"
    numbers = column(db, "select id from pgqueue.completions order by random() limit 80")
    found = [_buffers(db, query, numbers[n : n + 10]) for n in range(0, 80, 10)]
    left = value(db, "select count(*) from pgqueue.completions")
    db.execute("delete from pgqueue.completions")

    assert max(found[1:]) < 300
    assert left == _MANY - 80


def test_a_plain_batch_and_its_repetition_finish_each_job_once(db: Db) -> None:
    """In any order, with stale tokens, NULLs and doubles among them."""
    by = worker(db)
    db.execute("insert into pgqueue.jobs (job_type) select 't' from generate_series(1, 20)")
    claimed = claim(db, by, limit=20)
    ids: list[Any] = [one.job_id for one in claimed]
    tokens: list[Any] = [one.token for one in claimed]
    db.execute(
        "select * from pgqueue.report(%s::uuid[], %s::bigint[])",
        ([*reversed(ids), None, *ids, *ids], [*reversed(tokens), None, *tokens, *([1] * 20)]),
    )
    report(db, claimed)

    assert value(db, "select count(*) from pgqueue.finished where status = 'succeeded'") == 20
