from __future__ import annotations

import io
import json
import logging
from typing import TYPE_CHECKING

import pytest

from pgqueue import log

if TYPE_CHECKING:
    from collections.abc import Iterator

LOGGER = logging.getLogger("pgqueue.test")


@pytest.fixture(autouse=True)
def restored_root() -> Iterator[None]:
    """Leave the root logger as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def written(stream: io.StringIO) -> list[str]:
    """Return the lines."""
    return stream.getvalue().splitlines()


def test_an_event_is_one_line_of_key_and_value() -> None:
    """None is left out, the text for people comes last."""
    out = io.StringIO()
    log.configure("info", stream=out)

    log.event(LOGGER, logging.INFO, "job started", text="at 100%", job_id=7, queue=None)

    (line,) = written(out)
    assert line.endswith(" INFO pgqueue.test: job started job_id=7 at 100%")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("plain", "plain"),
        ("two words", '"two words"'),
        ("a=b", '"a=b"'),
        ('say "x"', '"say \\"x\\""'),
        ("a\nINFO forged: line", '"a\\nINFO forged: line"'),
        ("", '""'),
        ("ü", "ü"),
    ],
)
def test_a_value_cannot_break_its_line(value: str, expected: str) -> None:
    """A job type with a line feed in it does not forge a log line."""
    assert log.key_values({"k": value}) == f"k={expected}"


def test_json_lines_hold_fields_and_details() -> None:
    """One object per line, with the event's name apart from its fields."""
    out = io.StringIO()
    log.configure("info", json=True, stream=out)

    log.event(LOGGER, logging.INFO, "job ended", text="1 done", details={"done": 1}, job_id=7)

    (line,) = written(out)
    entry = json.loads(line)
    del entry["time"]
    assert entry == {
        "level": "info",
        "logger": "pgqueue.test",
        "event": "job ended",
        "job_id": 7,
        "done": 1,
    }


def test_an_exception_stays_within_its_json_line() -> None:
    """The traceback is a member."""
    out = io.StringIO()
    log.configure("info", json=True, stream=out)

    log.event(LOGGER, logging.ERROR, "job failed", exc_info=ValueError("no"))

    (line,) = written(out)
    assert "ValueError: no" in json.loads(line)["exception"]


def test_configuring_twice_logs_once() -> None:
    """The earlier handler is replaced."""
    first, second = io.StringIO(), io.StringIO()
    log.configure("info", stream=first)
    log.configure("info", stream=second)

    log.event(LOGGER, logging.INFO, "once")

    assert (len(written(first)), len(written(second))) == (0, 1)


def test_a_level_that_is_off_costs_no_formatting() -> None:
    """The fields are not even turned into text."""

    class Expensive:
        def __str__(self) -> str:
            raise AssertionError("formatted")

    out = io.StringIO()
    log.configure("warning", stream=out)

    log.event(LOGGER, logging.INFO, "quiet", field=Expensive())

    assert written(out) == []


def test_a_job_logger_adds_the_ids() -> None:
    """With arguments and without, and a percent sign in either does no harm."""
    out = io.StringIO()
    log.configure("info", stream=out)
    logger = log.JobLogger(LOGGER, {"job_id": 7, "job_type": "100%"})

    logger.info("read %s rows", 3)
    logger.info("50% done")

    messages = [line.partition("pgqueue.test: ")[2] for line in written(out)]
    assert messages == ["read 3 rows job_id=7 job_type=100%", "50% done job_id=7 job_type=100%"]


def test_a_record_names_the_line_that_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Not a line of pgqueue.log."""
    caplog.set_level(logging.INFO)

    log.event(LOGGER, logging.INFO, "here")
    log.JobLogger(LOGGER, {"job_id": 7}).info("here")

    assert {record.filename for record in caplog.records} == {"test_log.py"}
    assert [getattr(r, "pgqueue_fields", None) for r in caplog.records] == [{}, {"job_id": 7}]
