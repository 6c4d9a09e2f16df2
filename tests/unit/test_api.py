from __future__ import annotations

import subprocess
import sys

import pytest

import pgqueue
import pgqueue.errors


def test_the_exported_names_are_sorted_and_exist() -> None:
    """Every name in __all__ can be imported."""
    names = pgqueue.__all__

    assert sorted(names) == list(names)
    assert [name for name in names if not hasattr(pgqueue, name)] == []


def test_every_error_is_exported() -> None:
    """`except pgqueue.X` works for each error of the tree."""
    exported = set(pgqueue.__all__)

    assert {name for name in pgqueue.errors.__all__ if name != "from_psycopg"} <= exported


def test_the_handler_facing_names_are_exported() -> None:
    """What a worker application imports; a name that goes away breaks applications."""
    expected = {
        "Backoff",
        "Cancel",
        "Fail",
        "JobContext",
        "JobDefinition",
        "JobError",
        "JobResult",
        "Metrics",
        "Outcome",
        "Registry",
        "Retry",
        "Snooze",
        "job",
        "load_app",
    }

    assert expected <= set(pgqueue.__all__)


def test_every_exported_name_has_a_home() -> None:
    """The lazy table and __all__ list the same names."""
    assert sorted(pgqueue._HOMES) == list(pgqueue.__all__)


def test_import_pgqueue_does_not_load_the_driver() -> None:
    """The pytest plugin and `pgqueue --help` start without psycopg."""
    code = "import sys, pgqueue, pgqueue.pytest_plugin; print('psycopg' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )

    assert done.stdout.strip() == "False"


def test_an_unknown_name_is_an_attribute_error() -> None:
    """A typing error in an import says which name is wrong."""
    with pytest.raises(AttributeError, match="no attribute 'Wroker'"):
        _ = pgqueue.Wroker


def test_optional_packages_are_not_imported() -> None:
    """A machine without pydantic, msgspec and uvloop can import pgqueue."""
    code = (
        "import sys, pgqueue\n"
        "print(sorted({'pydantic', 'msgspec', 'uvloop', 'pytest'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )

    assert done.stdout.strip() == "[]"
