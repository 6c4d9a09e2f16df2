"""How a worker is set up: in one place, and refused at once when that makes no sense."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from pgqueue import ConfigurationError, Registry
from pgqueue.worker import Worker, WorkerSettings, run_supervised
from pgqueue.worker.settings import WorkerOptions


def test_the_options_of_a_worker_are_the_fields_of_its_settings() -> None:
    """What one knows the other knows."""
    fields = {field.name for field in dataclasses.fields(WorkerSettings)}

    assert fields == set(WorkerOptions.__annotations__)


def test_options_make_the_settings() -> None:
    """Queues may be any sequence; what is not given has its default."""
    worker = Worker(Registry(), queues=["a", "b"], lease_seconds=9, name="w")

    assert worker.settings == WorkerSettings(queues=("a", "b"), lease_seconds=9, name="w")


def test_settings_are_taken_as_they_are() -> None:
    """The same object."""
    settings = WorkerSettings(concurrency=3)

    assert Worker(Registry(), settings=settings).settings is settings


def test_settings_and_options_together_are_refused() -> None:
    """One of the two would be ignored; the message names the options."""
    with pytest.raises(ConfigurationError, match="not both: concurrency, name"):
        Worker(Registry(), settings=WorkerSettings(), name="w", concurrency=3)


def test_an_option_that_does_not_exist_is_refused() -> None:
    """As Python refuses an unknown argument."""
    options: dict[str, Any] = {"lease": 20.0}

    with pytest.raises(TypeError, match="lease"):
        Worker(Registry(), **options)


@pytest.mark.parametrize(
    "wrong",
    [
        {"queues": ()},
        {"queues": ("a", "a")},
        {"concurrency": 0},
        {"lease_seconds": 0.5},
        {"poll_seconds": 0},
        {"shutdown_seconds": -1},
        {"health_port": 65_536},
        {"name": ""},
        {"pooler": "perhaps"},
    ],
    ids=str,
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    """When the worker is set up, not when it runs."""
    with pytest.raises(ConfigurationError):
        WorkerSettings(**wrong)


def test_settings_survive_the_way_to_a_child_process() -> None:
    """to_json and from_json are inverse."""
    settings = WorkerSettings(queues=("a", "b"), name="w", health_port=8080, drain=True)

    assert settings == WorkerSettings.from_json(settings.to_json())


def test_more_processes_than_ports_are_refused() -> None:
    """Each process has a health port of its own, counted up from the first."""
    settings = WorkerSettings(health_port=65_534)

    with pytest.raises(ConfigurationError, match="3 processes from health_port 65534"):
        run_supervised(["tests.support.handlers"], settings=settings, processes=3)
