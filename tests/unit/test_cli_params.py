from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import click
import pytest

from pgqueue.cli import lines
from pgqueue.cli.params import JOB_ID, JSON_OBJECT, MOMENT, PRIORITY, SINCE, parse_duration

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("0", 0),
        ("1.5s", 1.5),
        ("250ms", 0.25),
        ("5m", 300),
        ("2h30m", 9_000),
        ("1d 12h", 129_600),
        ("2w", 1_209_600),
    ],
)
def test_durations_are_written_with_units(text: str, seconds: float) -> None:
    """A bare number is seconds."""
    assert parse_duration(text).total_seconds() == seconds


@pytest.mark.parametrize("text", ["", " ", "soon", "-5m", "5x", "5m!", "m", "1e3", "9" * 30 + "d"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    """The message shows how to write one."""
    with pytest.raises(ValueError, match="write it like 90"):
        parse_duration(text)


def test_a_time_without_an_offset_is_local() -> None:
    """And always comes out aware: the server would take a naive one for its own zone."""
    read = MOMENT.convert("2030-01-31T18:00", None, None)

    assert read == dt.datetime(2030, 1, 31, 18).astimezone()
    assert read.tzinfo is not None


@pytest.mark.parametrize("text", ["tomorrow", "2h", "", "9999-99-99"])
def test_what_is_no_time_is_refused(text: str) -> None:
    """A duration is one only where the past is meant."""
    with pytest.raises(click.BadParameter, match="write it like 2030"):
        MOMENT.convert(text, None, None)


def test_since_takes_a_duration_for_ago() -> None:
    """`--since 2h`."""
    ago = dt.datetime.now().astimezone() - SINCE.convert("2h", None, None)

    assert abs(ago.total_seconds() - 7_200) < 5


@pytest.mark.parametrize(("text", "expected"), [("high", 0), ("BULK", 3), ("2", 2)])
def test_priorities_have_names_and_numbers(text: str, expected: int) -> None:
    """The numbers are those of the column."""
    assert PRIORITY.convert(text, None, None) == expected


@pytest.mark.parametrize("text", ["4", "-1", "urgent", ""])
def test_other_priorities_are_refused(text: str) -> None:
    """Naming the four."""
    with pytest.raises(click.BadParameter, match="bulk"):
        PRIORITY.convert(text, None, None)


def test_a_payload_stays_the_text_that_was_given() -> None:
    """Numbers are not rounded on the way."""
    text = '{"price": 1.10, "n": 12345678901234567890.123456789}'

    assert JSON_OBJECT.convert(text, None, None) == text


def test_a_payload_can_come_from_a_file(tmp_path: Path) -> None:
    """`@file`."""
    (tmp_path / "p.json").write_text('{"a": 1}')

    assert JSON_OBJECT.convert(f"@{tmp_path / 'p.json'}", None, None) == '{"a": 1}'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[1]", "not a JSON object"),
        ('"x"', "not a JSON object"),
        ("{a: 1}", "line 1 column 2"),
        ("", "not JSON"),
        ("@/does/not/exist", "No such file"),
    ],
)
def test_a_payload_that_is_no_object_is_refused(text: str, said: str) -> None:
    """Before anything is sent; syntax errors say where."""
    with pytest.raises(click.BadParameter, match=said):
        JSON_OBJECT.convert(text, None, None)


@pytest.mark.parametrize(
    "payload", ['{"n": ' + "9" * 5_000 + "}", '{"a": ' * 2_000 + "1" + "}" * 2_000]
)
def test_what_only_python_refuses_is_left_to_the_server(payload: str) -> None:
    """PostgreSQL stores numbers of 5,000 digits."""
    assert JSON_OBJECT.convert(payload, None, None) == payload


def test_a_job_id_is_a_uuid() -> None:
    """The value is quoted: it is often a mispaste."""
    with pytest.raises(click.BadParameter, match="'42' is no job id"):
        JOB_ID.convert("42", None, None)


def test_lines_are_chunked_and_empty_ones_skipped() -> None:
    """Each chunk knows its first line."""
    text = ['{"a":1}\n', "\n", '{"a":2}\n', '{"a":3}\n']

    assert list(lines.chunks(text, 2)) == [(1, ['{"a":1}', '{"a":2}']), (4, ['{"a":3}'])]


def test_long_lines_make_smaller_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A chunk is one parameter: its size is bounded in characters too."""
    monkeypatch.setattr(lines, "CHUNK_CHARACTERS_MAX", 10)

    assert [len(chunk) for _, chunk in lines.chunks(['{"a": 12345}'] * 3, 1_000)] == [1, 1, 1]


def test_a_bad_line_is_named() -> None:
    """With its number and what is wrong there."""
    with pytest.raises(lines.BadLine, match=r"line 2: not JSON: .* at line 1 column 9"):
        list(lines.chunks(['{"a": 1}', '{"a": 1,}'], 10))


def test_a_payload_is_wrapped_as_it_is() -> None:
    """No number is decoded."""
    assert lines.wrapped('{"job_type": "x"}', '{"p": 1.10}') == (
        '{"job_type": "x", "payload": {"p": 1.10}}'
    )
