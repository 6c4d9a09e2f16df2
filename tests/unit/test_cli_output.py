from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from uuid import UUID

import pytest

from pgqueue.cli.output import Column, as_json, details, duration, shown, table, width_of
from pgqueue.cli.terminal import clean

ROWS = [
    {"name": "mail", "n": 5, "status": "queued"},
    {"name": "prices", "n": 12_345, "status": "failed"},
]
COLUMNS = [Column("name"), Column("n", kind="number"), Column("status")]


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "0 ms"),
        (0.0042, "4 ms"),
        (0.9996, "1.0 s"),
        (12.34, "12.3 s"),
        (59.97, "1 m"),
        (75, "1 m 15 s"),
        (3_725, "1 h 02 m"),
        (3_600, "1 h"),
        (190_800, "2 d 05 h"),
        (2_592_000, "30 d"),
        (-90, "-1 m 30 s"),
    ],
)
def test_durations_read_like_speech(seconds: float, expected: str) -> None:
    """Two units at most, and no 60 in the second one."""
    assert duration(seconds) == expected


def test_columns_line_up_and_numbers_stand_to_the_right() -> None:
    """Headers too; no trailing spaces."""
    expected = "name         n  status\nmail         5  queued\nprices  12,345  failed"

    assert table(ROWS, COLUMNS) == expected


def test_a_narrow_terminal_cuts_text_and_never_numbers() -> None:
    """The widest text column gives way; the cut is visible."""
    rows = [{"name": "x" * 60, "n": 123_456, "status": "queued"}]

    lines = table(rows, COLUMNS, width=40).splitlines()

    assert max(map(len, lines)) == 40
    assert "123,456" in lines[1]
    assert "x…" in lines[1]


def test_ids_are_never_cut() -> None:
    """A cut id cannot be pasted into the next command."""
    row = {"id": UUID(int=7), "note": "y" * 50}

    line = table([row], [Column("id"), Column("note")], width=20).splitlines()[1]

    assert str(UUID(int=7)) in line


def test_an_optional_column_without_values_is_left_out() -> None:
    """Deployments without tenants see no empty column."""
    columns = [Column("name"), Column("tenant", optional=True)]

    assert table([{"name": "a"}], columns) == "name\na"
    assert "tenant" in table([{"name": "a", "tenant": "t"}], columns)


def test_a_column_can_be_meant_for_some_statuses() -> None:
    """Only what waits for its time shows when it is due."""
    columns = [Column("due", only=frozenset({"scheduled"})), Column("status")]
    rows = [{"due": "soon", "status": "scheduled"}, {"due": "gone", "status": "running"}]

    assert "gone" not in table(rows, columns)


def test_statuses_are_coloured_without_moving_columns() -> None:
    """The escapes wrap the word, not the padding."""
    coloured = table(ROWS, [Column("status"), Column("name")], colour=True).splitlines()

    assert coloured[2] == "\x1b[31mfailed\x1b[0m  prices"


def test_cells_cannot_drive_the_terminal() -> None:
    """An error message with escapes or line feeds is shown without them."""
    assert clean("a\x1b[2Jb\nc\u202ed") == "a\ufffd[2Jb c\ufffdd"


def test_wide_characters_count_twice() -> None:
    """Japanese job types line up as well."""
    assert width_of("請求") == 4
    assert width_of("e\u0301") == 1


def test_nothing_is_shown_for_none_and_local_time_for_times() -> None:
    """Seconds are enough for people."""
    moment = dt.datetime(2026, 11, 22, 2, 10, 28, 999_999, tzinfo=dt.UTC)

    assert shown(None) == ""
    assert shown(moment) == moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (["a", "b"], "a, b"),
        ({"k": 1}, '{"k": 1}'),
        (Decimal("1.50"), "1.5"),
        (True, "yes"),
        (False, "no"),
        (dt.timedelta(minutes=2), "2 m"),
    ],
)
def test_values_have_one_form_for_people(value: object, expected: str) -> None:
    """Lists without brackets, objects as JSON."""
    assert shown(value) == expected


def test_facts_that_are_empty_are_left_out() -> None:
    """Names line up at the widest that is shown."""
    pairs = [("id", "7"), ("unique key", ""), ("queue", "mail")]

    assert details(pairs) == "id     7\nqueue  mail"


def test_json_keeps_what_json_can_say() -> None:
    """Times in ISO 8601, spans in seconds, whole decimals as integers."""
    value = {
        "at": dt.datetime(2026, 11, 22, tzinfo=dt.UTC),
        "took": dt.timedelta(milliseconds=1500),
        "id": UUID(int=1),
        "n": Decimal("3.000"),
        "p": Decimal("0.25"),
    }

    assert json.loads(as_json(value)) == {
        "at": "2026-11-22T00:00:00+00:00",
        "took": 1.5,
        "id": "00000000-0000-0000-0000-000000000001",
        "n": 3,
        "p": 0.25,
    }
