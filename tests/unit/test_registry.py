from __future__ import annotations

import datetime as dt
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from pgqueue import Backoff, ConfigurationError, InvalidArgument, JobContext, Registry, load_app
from pgqueue.errors import UnknownJobType
from pgqueue.registry import default_registry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def clean_default_registry() -> Iterator[None]:
    """Leave the default registry as it was."""
    before = dict(default_registry._jobs)
    yield
    default_registry._jobs.clear()
    default_registry._jobs.update(before)


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory to write applications into; what they import is forgotten."""
    known = set(sys.modules)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path
    for name in set(sys.modules) - known:
        del sys.modules[name]


def test_a_decorated_function_is_called_as_before() -> None:
    """It only gains an attribute; a test calls it directly."""
    jobs = Registry()

    @jobs.job("double", queue="math")
    def double(n: int) -> int:
        """Double a number."""
        return 2 * n

    assert double(4) == 8
    assert double.job.function is double
    assert (double.job.job_type, double.job.description) == ("double", "Double a number.")


def test_the_function_names_the_job_type_by_default() -> None:
    """With and without parentheses."""
    jobs = Registry()

    @jobs.job
    async def first(ctx: JobContext) -> None: ...

    @jobs.job()
    def second() -> None: ...

    assert [definition.job_type for definition in jobs] == ["first", "second"]
    assert [definition.is_async for definition in jobs] == [True, False]


def test_only_what_is_set_is_registered() -> None:
    """The database's defaults stay the database's."""
    jobs = Registry()

    @jobs.job
    def plain() -> None: ...

    @jobs.job(
        "full",
        queue="q",
        retries=3,
        timeout=dt.timedelta(minutes=1),
        backoff=Backoff(base=1, factor=3, cap=dt.timedelta(hours=1)),
        retention=dt.timedelta(days=2),
        description="All of it.",
    )
    def full() -> None: ...

    assert jobs.registrations() == [
        {"job_type": "plain"},
        {
            "job_type": "full",
            "queue": "q",
            "max_attempts": 4,
            "timeout_seconds": 60.0,
            "retention_seconds": 172_800.0,
            "description": "All of it.",
            "backoff_base_seconds": 1,
            "backoff_factor": 3,
            "backoff_cap_seconds": 3600.0,
        },
    ]


@pytest.mark.parametrize(
    "options",
    [
        {"name": ""},
        {"name": "x" * 101},
        {"name": " x"},
        {"name": "a\nb"},
        {"queue": "q" * 64},
        {"retries": -1},
        {"retries": True},
        {"retries": 10_000},
        {"timeout": 0},
        {"timeout": dt.timedelta(days=31)},
        {"retention": -1},
        {"backoff": 5},
        {"isolation": "fork"},
        {"isolation": "process"},  # a local function: a child process cannot import it
    ],
)
def test_a_bad_option_is_refused_where_it_is_written(options: dict[str, Any]) -> None:
    """With the function and the line in the message."""
    jobs = Registry()
    name = options.pop("name", None)

    def handler() -> None: ...

    with pytest.raises(ConfigurationError, match=r"handler at .*test_registry\.py:\d+"):
        jobs.job(name, **options)(handler)
    assert len(jobs) == 0


@pytest.mark.parametrize("options", [{"base": 0}, {"factor": 0.5}, {"cap": 31 * 86_400}])
def test_a_senseless_backoff_is_refused(options: dict[str, float]) -> None:
    """The bounds are those of pgqueue.job_types."""
    with pytest.raises(InvalidArgument, match="backoff"):
        Backoff(**options)


def test_isolation_is_for_sync_functions() -> None:
    """A coroutine runs on the worker's loop."""
    with pytest.raises(ConfigurationError, match="sync functions"):

        @Registry().job(isolation="thread")
        async def handler() -> None: ...


def test_annotations_may_name_local_classes() -> None:
    """A handler declared inside a test function uses what that function defines."""
    jobs = Registry()

    @dataclass
    class Local:
        n: int

    @jobs.job
    def bare(local: Local) -> None: ...

    @jobs.job("named")
    def other(local: Local) -> None: ...

    for definition in jobs:
        assert definition.binder.bind({"local": {"n": 1}}) == {"local": Local(1)}


def test_generators_classes_and_methods_are_no_handlers() -> None:
    """They would be called without ever running."""
    with pytest.raises(ConfigurationError, match="generator"):

        @Registry().job
        def handler() -> Iterator[int]:
            yield 1

    with pytest.raises(ConfigurationError, match="decorates functions"):
        Registry().job(dict)


def test_two_functions_for_one_job_type_are_refused() -> None:
    """Both places are named."""
    jobs = Registry()
    jobs.job("same")(lambda: None)

    with pytest.raises(ConfigurationError, match=r"test_registry\.py:\d+ and at .*\.py:\d+"):

        @jobs.job("same")
        def other() -> None: ...


def test_the_same_lines_may_be_declared_again() -> None:
    """A reload, and a module that is run as __main__ and imported."""
    jobs = Registry()
    for _ in range(2):

        @jobs.job
        def handler() -> None: ...

    assert len(jobs) == 1


def test_an_unknown_job_type_lists_the_known_ones() -> None:
    """The error is for the person who looks at the failed job."""
    jobs = Registry()

    @jobs.job
    def known() -> None: ...

    with pytest.raises(UnknownJobType, match="known"):
        jobs.get("other")
    assert jobs.get("known").job_type == "known"


def test_registries_can_be_joined() -> None:
    """One worker can serve several applications."""
    one, two = Registry(), Registry()

    @two.job
    def handler() -> None: ...

    one.include(two)

    assert "handler" in one


def test_an_app_is_a_module_in_the_current_directory(app: Path) -> None:
    """As with python -m."""
    (app / "shop_app.py").write_text(
        "from pgqueue import job\n\n@job\ndef sell(n: int) -> None: ...\n"
    )

    assert "sell" in load_app("shop_app")


def test_an_app_may_name_its_registry(app: Path) -> None:
    """And need not, when it has only one."""
    (app / "own_app.py").write_text(
        "from pgqueue import Registry\njobs = Registry()\n@jobs.job\ndef sell() -> None: ...\n"
    )

    assert [d.job_type for d in load_app("own_app:jobs")] == ["sell"]
    assert [d.job_type for d in load_app("own_app")] == ["sell"]


@pytest.mark.parametrize(
    ("source", "app_name", "message"),
    [
        (None, "absent_app", "there is no module absent_app"),
        ("", "a_app.b", "there is no module a_app.b"),
        (
            "\nimport not_installed_thing",
            "a_app",
            r"does not import: No module named 'not_installed_thing' \(.*a_app\.py, line 2\)",
        ),
        ("1 / 0", "a_app", r"does not import: ZeroDivisionError: .* \(.*a_app\.py, line 1\)"),
        # Raised in the standard library; the line to mend is the application's.
        ("\n\nimport os\nos.environ['NO_SUCH']", "a_app", r"KeyError: .*a_app\.py, line 4\)"),
        (
            "import sys\nsys.exit(3)",
            "a_app",
            r"ends the program when it is imported: exit\(3\) \(.*a_app\.py, line 2\)",
        ),
        ("def", "a_app", "does not import: SyntaxError"),
        ("", "a_app:jobs", "jobs is no Registry"),
        ("", "../a_app", r"is not the name of a module\. Write it as `package\.module`"),
        ("", "a_app.py", r"'a_app\.py' is not the name of a module\. Write a_app: a module"),
        ("", "./shop/jobs.py", r"Write shop\.jobs: a module is named, not a file"),
        ("", "shop/__init__.py", "Write shop: a module is named, not a file"),
        ("", "/elsewhere/jobs.py", r"Write it as `package\.module`"),
        ("", "", "is not the name of a module"),
        (
            "from pgqueue import Registry, job\na, b = Registry(), Registry()",
            "a_app",
            "more than one registry",
        ),
        (
            "from pgqueue import job\n@job\ndef f(x: 'Later') -> None: ...",
            "a_app",
            "name 'Later' is not defined",
        ),
    ],
)
def test_an_app_that_does_not_load_says_why(
    app: Path, source: str | None, app_name: str, message: str
) -> None:
    """A missing module and a broken one are different errors: different people mend them."""
    if source is not None:
        (app / "a_app.py").write_text(source)

    with pytest.raises(ConfigurationError, match=message):
        load_app(app_name)


def test_an_absolute_path_below_the_directory_is_named_as_a_module(app: Path) -> None:
    """As a shell completes it."""
    with pytest.raises(ConfigurationError, match=r"Write shop\.jobs:"):
        load_app(str(app / "shop" / "jobs.py"))


def test_an_app_without_handlers_is_refused(app: Path) -> None:
    """A worker that handles nothing is a mistake, not a worker."""
    default_registry._jobs.clear()
    (app / "empty_app.py").write_text("")

    with pytest.raises(ConfigurationError, match="declares no handlers"):
        load_app("empty_app")


def test_annotations_may_name_what_comes_later(app: Path) -> None:
    """The binder is compiled when the module is complete."""
    (app / "late_app.py").write_text(
        "from __future__ import annotations\n"
        "from dataclasses import dataclass\n"
        "from pgqueue import Registry\n"
        "jobs = Registry()\n"
        "@jobs.job\n"
        "def sell(item: Item) -> None: ...\n"
        "@dataclass\n"
        "class Item:\n"
        "    sku: str\n"
    )
    values = load_app("late_app").get("sell").binder.bind({"item": {"Sku": "a"}})

    assert values["item"].sku == "a"
