"""Cron expressions: which exist, when they tick, and what happens when clocks change."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest
from croniter import croniter

from tests.support.sqljobs import refused, value

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.support.sqljobs import Db

_NAMES = """
    UTC Africa/Cairo Africa/Casablanca Africa/Johannesburg Africa/Lagos Africa/Windhoek
    America/Anchorage America/Asuncion America/Bogota America/Caracas America/Chicago
    America/Denver America/Halifax America/Havana America/Los_Angeles America/Mexico_City
    America/New_York America/Nuuk America/Santiago America/Sao_Paulo America/St_Johns
    Antarctica/Troll Asia/Amman Asia/Beirut Asia/Dhaka Asia/Gaza Asia/Jerusalem Asia/Kathmandu
    Asia/Kolkata Asia/Pyongyang Asia/Shanghai Asia/Tehran Asia/Tokyo Australia/Adelaide
    Australia/Lord_Howe Australia/Sydney Europe/Berlin Europe/Dublin Europe/Istanbul
    Europe/London Europe/Moscow Pacific/Apia Pacific/Auckland Pacific/Chatham Pacific/Fiji
"""
_ZONES = _NAMES.split()
_FROM = dt.datetime(2015, 1, 1, tzinfo=dt.UTC)
_UNTIL = dt.datetime(2025, 1, 1, tzinfo=dt.UTC)
_HOUR = dt.timedelta(hours=1)
_DAY = dt.timedelta(days=1)

# Few ticks a year: compared over all ten years.
_RARE = (
    "0 0 29 2 *",
    "30 2 31 * *",
    "0 3 L * *",
    "15 1 * * fri#2",
    "0 4 * 1,7 mon-fri/4",
    "0 12 * * L5",
)
# Compared around each change of the clock. Seconds 0: in a skipped hour croniter adds others to the
# moment at which the clock jumps.
_DAILY = ("30 2 * * *", "*/7 1-3 * * *", "0 0,23 1-15 * sun", "0 59 0,1,2 * * *")


def _ticks(db: Db, cron: str, zone: str, after: dt.datetime, count: int) -> list[dt.datetime]:
    rows = db.execute(
        "select * from pgqueue.next_ticks(%s, %s, %s, %s)", (cron, zone, after, count)
    )
    return [tick.astimezone(dt.UTC) for (tick,) in rows]


def _croniter(cron: str, zone: str, after: dt.datetime, until: dt.datetime) -> list[dt.datetime]:
    """The ticks of croniter, those in the second pass of a repeated hour left out."""
    tz = ZoneInfo(zone)
    found = croniter(cron, after.astimezone(tz), second_at_beginning=True)
    ticks: list[dt.datetime] = []
    while (tick := found.get_next(dt.datetime).astimezone(dt.UTC)) <= until:
        first_pass = tick.astimezone(tz).replace(fold=0).astimezone(dt.UTC)
        if first_pass == tick and (not ticks or tick > ticks[-1]):
            ticks.append(tick)
    return ticks


def _changes(zone: str) -> Iterable[dt.datetime]:
    """The hours within which the zone's clock changes."""
    tz = ZoneInfo(zone)
    day = _FROM
    while day < _UNTIL:
        if day.astimezone(tz).utcoffset() != (day + _DAY).astimezone(tz).utcoffset():
            hour = day
            while hour.astimezone(tz).utcoffset() == (hour + _HOUR).astimezone(tz).utcoffset():
                hour += _HOUR
            yield hour
        day += _DAY


@pytest.mark.parametrize("zone", _ZONES)
def test_ticks_are_those_of_croniter(db: Db, zone: str) -> None:
    """Ten years of rare ticks; and of frequent ones, each day on which the clock changes."""
    for cron in _RARE:
        expected = _croniter(cron, zone, _FROM, _UNTIL)
        ticks = _ticks(db, cron, zone, _FROM, len(expected) + 1)

        assert (ticks[:-1], ticks[-1] > _UNTIL) == (expected, True), cron
    for change in _changes(zone):
        for cron in _DAILY:
            expected = _croniter(cron, zone, change - 24 * _HOUR, change + 24 * _HOUR)
            ticks = _ticks(db, cron, zone, change - 24 * _HOUR, len(expected) + 1)

            assert (ticks[:-1], ticks[-1] > change + 24 * _HOUR) == (expected, True), (cron, change)


def test_each_tick_follows_from_any_moment_before_it(db: Db) -> None:
    """Asked from any minute of a day on which the clock changes, the answer is the same list."""
    for cron in ("30 2 * * *", "*/20 * * * *", "15 1-3 * * *"):
        for start in (
            dt.datetime(2026, 3, 28, 20, tzinfo=dt.UTC),
            dt.datetime(2026, 10, 24, 20, tzinfo=dt.UTC),
        ):
            ticks = _ticks(db, cron, "Europe/Berlin", start, 200)
            for minute in range(0, 720, 7):
                after = start + dt.timedelta(minutes=minute, seconds=0.5)
                expected = min(tick for tick in ticks if tick > after)

                assert _ticks(db, cron, "Europe/Berlin", after, 1) == [expected]


# Berlin: on 29 March 2026 02:00 becomes 03:00, on 25 October 2026 03:00 becomes 02:00.
@pytest.mark.parametrize(
    ("cron", "after", "expected"),
    [
        # By the calendar: a skipped time ticks when the clock jumps, and only once.
        ("30 2 * * *", "2026-03-28 12:00Z", ["03-29 01:00", "03-30 00:30"]),
        ("0,30 2 * * *", "2026-03-28 12:00Z", ["03-29 01:00", "03-30 00:00"]),
        ("0 2,3 * * *", "2026-03-28 12:00Z", ["03-29 01:00", "03-30 00:00"]),
        # A repeated time ticks at its first pass.
        ("30 2 * * *", "2026-10-24 12:00Z", ["10-25 00:30", "10-26 01:30"]),
        ("30 2 * * *", "2026-10-25 00:45Z", ["10-26 01:30"]),
        # By elapsed time: nothing in the skipped hour, both passes of the repeated one.
        ("30 * * * *", "2026-03-29 00:10Z", ["03-29 00:30", "03-29 01:30"]),
        ("0 */2 * * *", "2026-03-28 23:30Z", ["03-29 02:00", "03-29 04:00"]),
        ("30 * * * *", "2026-10-25 00:10Z", ["10-25 00:30", "10-25 01:30", "10-25 02:30"]),
    ],
)
def test_clock_changes_follow_the_written_policy(
    db: Db, cron: str, after: str, expected: list[str]
) -> None:
    """The header of sql/functions/cron.sql says what happens in skipped and repeated hours."""
    ticks = _ticks(db, cron, "Europe/Berlin", dt.datetime.fromisoformat(after), len(expected))

    assert [f"{tick:%m-%d %H:%M}" for tick in ticks] == expected


def test_a_day_that_a_zone_leaves_out_ticks_when_it_jumps(db: Db) -> None:
    """Samoa went from 29 to 31 December 2011: the tick of the 30th comes at the jump."""
    after = dt.datetime(2011, 12, 28, tzinfo=dt.UTC)

    assert _ticks(db, "0 12 30 12 *", "Pacific/Apia", after, 1) == [
        dt.datetime(2011, 12, 30, 10, tzinfo=dt.UTC)
    ]


@pytest.mark.parametrize(
    ("cron", "plain"),
    [
        ("@hourly", "0 * * * *"),
        ("@daily", "0 0 * * *"),
        ("@midnight", "0 0 * * *"),
        ("@weekly", "0 0 * * sun"),
        ("@monthly", "0 0 1 * *"),
        ("@yearly", "0 0 1 jan *"),
        ("@annually", "0 0 1 jan ?"),
        ("@MINUTELY", " *  * * *\t* "),
        ("0 0 * * 7", "0 0 * * 0"),
        ("0 0 * * fri-sun", "0 0 * * 5,6,0"),
        ("0 0 * jan-mar MON", "0 0 * 1,2,3 1"),
        ("5/20 * * * *", "5,25,45 * * * *"),
        ("0 30 4 * * *", "30 4 * * *"),
    ],
)
def test_two_ways_to_write_the_same(db: Db, cron: str, plain: str) -> None:
    """Macros, names, ranges and steps are short for lists of numbers."""
    assert _ticks(db, cron, "UTC", _FROM, 20) == _ticks(db, plain, "UTC", _FROM, 20)


@pytest.mark.parametrize(
    "cron",
    [
        "",
        "* * * *",
        "* * * * * * *",
        "60 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "* * 32 * *",
        "* * * 13 *",
        "* * * * 8",
        "*/0 * * * *",
        "5-1 * * * *",
        "1,,2 * * * *",
        "a * * * *",
        "* * * foo *",
        "-1 * * * *",
        "1.5 * * * *",
        "* * * * 2#6",
        "@reboot",
        "1'; drop table x; -- * * * *",
        "0 0 1 1 * " + " " * 500,
    ],
)
def test_nonsense_is_refused(db: Db, cron: str) -> None:
    """PQ006, never a schedule that silently ticks at another time."""
    with refused("PQ006"):
        db.execute("select pgqueue.next_tick(%s)", (cron,))


@pytest.mark.parametrize("zone", ["", "CEST", "+02", "Europe/Atlantis", "<x>-3", "UTC+2", None])
def test_only_names_of_zones_are_taken(db: Db, zone: str | None) -> None:
    """Offsets and abbreviations know no summer time, and POSIX turns their sign round."""
    with refused("PQ006"):
        db.execute("select pgqueue.next_tick('@daily', %s)", (zone,))


def test_a_day_that_never_comes_has_no_tick(db: Db) -> None:
    """The 30th of February: NULL, after a bounded search."""
    assert value(db, "select pgqueue.next_tick('0 0 30 2 *')") is None


def test_a_tick_is_strictly_after(db: Db) -> None:
    """Asked at a tick, or within its second, the answer is the one after it."""
    at = dt.datetime(2026, 5, 5, 5, 5, tzinfo=dt.UTC)

    assert _ticks(db, "* * * * * *", "UTC", at, 1) == [at + dt.timedelta(seconds=1)]
    assert _ticks(db, "* * * * * *", "UTC", at + dt.timedelta(seconds=0.9), 1) == [
        at + dt.timedelta(seconds=1)
    ]
