from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from pgqueue import Registry, Schedule
from pgqueue.errors import ConfigurationError, InvalidArgument


def _declare(registry: Registry, name: str, schedule: Any) -> None:
    @registry.job(name, schedule=schedule)
    def handler() -> None:
        """Do it."""


def _registered(monkeypatch: pytest.MonkeyPatch, schedule: Any, **environ: str) -> Any:
    for key, value in environ.items():
        monkeypatch.setenv(key, value)
    registry = Registry()
    _declare(registry, "send-report", schedule)
    return registry.schedule_registrations()


def test_an_expression_is_a_schedule_named_like_the_job_type() -> None:
    """The shortest form; the rest are the defaults of pgqueue.schedules."""
    registry = Registry()
    _declare(registry, "send_report", "0 2 * * *")

    assert registry.schedule_registrations() == [
        {
            "name": "send_report",
            "job_type": "send_report",
            "cron": "0 2 * * *",
            "time_zone": "UTC",
            "payload": {},
            "priority": 1,
            "overlap": "allow",
            "catch_up": "one",
            "catch_up_max": 100,
            "grace_seconds": 60,
            "jitter_seconds": 0.0,
            "enabled": True,
            "description": "Do it.",
        }
    ]


def test_times_are_seconds_or_timedeltas() -> None:
    """And what is no time is refused where it is declared."""
    row = Schedule(cron="@daily", grace=dt.timedelta(hours=1), jitter=2.5).registration("t", None)

    assert (row["grace_seconds"], row["jitter_seconds"]) == (3600.0, 2.5)
    for wrong in (-1, 90_000, "5"):
        with pytest.raises(InvalidArgument):
            Schedule(cron="@daily", jitter=wrong)  # type: ignore[arg-type]


def test_several_schedules_need_names() -> None:
    """Two without a name, or with the same, are refused; other types too."""
    registry = Registry()
    _declare(registry, "t", [Schedule(cron="@daily"), Schedule(cron="@hourly", name="t hourly")])

    assert [row["name"] for row in registry.schedule_registrations()] == ["t", "t hourly"]
    for wrong in ([Schedule(cron="@daily"), Schedule(cron="@hourly")], [1]):
        with pytest.raises(ConfigurationError):
            _declare(Registry(), "t", wrong)


def test_two_handlers_cannot_declare_the_same_schedule() -> None:
    """The name is the identity: the second would overwrite the first at each start."""
    registry = Registry()
    _declare(registry, "a", Schedule(cron="@daily", name="nightly"))
    _declare(registry, "b", Schedule(cron="@daily", name="nightly"))

    with pytest.raises(ConfigurationError, match="nightly"):
        registry.schedule_registrations()


@pytest.mark.parametrize(
    ("schedule", "environ", "expected"),
    [
        ("@daily", {}, [("@daily", True)]),
        ("@daily", {"SEND_REPORT_SCHEDULE": "@hourly"}, [("@hourly", True)]),
        ("@daily", {"SEND_REPORT_ENABLED": "no"}, [("@daily", False)]),
        (Schedule(cron="@daily", enabled=False), {"SEND_REPORT_ENABLED": "1"}, [("@daily", True)]),
        (None, {"SEND_REPORT_SCHEDULE": "@weekly"}, [("@weekly", True)]),
        (None, {"SEND_REPORT_ENABLED": "yes"}, []),
        (
            Schedule(cron="@daily", name="night"),
            {"NIGHT_SCHEDULE": "@monthly", "SEND_REPORT_SCHEDULE": "@weekly"},
            [("@monthly", True), ("@weekly", True)],
        ),
    ],
)
def test_the_environment_has_the_last_word(
    monkeypatch: pytest.MonkeyPatch,
    schedule: Any,
    environ: dict[str, str],
    expected: list[tuple[str, bool]],
) -> None:
    """NAME_SCHEDULE and NAME_ENABLED, the name in capitals with _ for what is no letter."""
    rows = _registered(monkeypatch, schedule, **environ)

    assert [(row["cron"], row["enabled"]) for row in rows] == expected


def test_a_switch_that_is_neither_on_nor_off_stops_the_worker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A typing error must not switch a schedule on."""
    with pytest.raises(ConfigurationError, match="SEND_REPORT_ENABLED"):
        _registered(monkeypatch, "@daily", SEND_REPORT_ENABLED="flase")


def test_the_limit_of_the_environment_reaches_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    """NAME_LIMIT sets the payload's limit, a number, and leaves the rest of the payload."""
    declared = Schedule(cron="@daily", payload={"limit": 10, "vs": "usd"})
    (with_it,) = _registered(monkeypatch, declared, SEND_REPORT_LIMIT="250")
    (plain,) = _registered(monkeypatch, declared, SEND_REPORT_LIMIT="")

    assert (with_it["payload"], plain["payload"]) == (
        {"limit": 250, "vs": "usd"},
        {"limit": 10, "vs": "usd"},
    )


@pytest.mark.parametrize("given", ["0", "-1", "ten", "1.5", "1_000", "9" * 19])
def test_a_limit_that_is_no_whole_number_above_zero_stops_the_worker(
    monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    """It would fail each tick's job instead."""
    with pytest.raises(ConfigurationError, match="SEND_REPORT_LIMIT"):
        _registered(monkeypatch, "@daily", SEND_REPORT_LIMIT=given)
