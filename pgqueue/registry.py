"""
Which handler runs which job type: the decorator, the registries, and how an app is loaded.

A worker application is a module. Importing it declares its handlers:

    @job("create_orders", retries=3, timeout=60, transactional=True)
    async def create_orders(ctx: JobContext, customer_id: UUID, items: list[Item]) -> dict: ...
"""

from __future__ import annotations

import importlib
import os
import sys
import sysconfig
import threading
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

from pgqueue.definition import Backoff, Handler, JobDefinition, define
from pgqueue.errors import ConfigurationError, PgqueueError, UnknownJobType

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Iterable, Iterator
    from types import ModuleType

    from pgqueue.definition import Isolation
    from pgqueue.schedule import Schedule

__all__ = ["Backoff", "Handler", "JobDefinition", "Registry", "default_registry", "job", "load_app"]

P = ParamSpec("P")
R = TypeVar("R")


class Registry:
    """
    A set of job definitions, by job type.

    Args:
        name: For messages.
    """

    def __init__(self, name: str = "registry") -> None:
        self.name = name
        self._jobs: dict[str, JobDefinition] = {}
        self._lock = threading.Lock()

    def __contains__(self, job_type: object) -> bool:
        return job_type in self._jobs

    def __iter__(self) -> Iterator[JobDefinition]:
        return iter(tuple(self._jobs.values()))

    def __len__(self) -> int:
        return len(self._jobs)

    def __repr__(self) -> str:
        return f"<Registry {self.name}: {len(self)} job types>"

    def get(self, job_type: str) -> JobDefinition:
        """
        Return the definition of *job_type*.

        Raises:
            UnknownJobType: No handler is registered for it.
        """
        try:
            return self._jobs[job_type]
        except KeyError:
            raise UnknownJobType(
                f"no handler for job type {job_type!r} in {self.name}",
                hint=f"It has handlers for: {', '.join(sorted(self._jobs)) or 'nothing'}.",
            ) from None

    def add(self, definition: JobDefinition) -> None:
        """
        Register *definition*.

        Raises:
            ConfigurationError: Another function has the job type; names both places.
        """
        with self._lock:
            known = self._jobs.setdefault(definition.job_type, definition)
            # The same lines again: a reload, or a module run as __main__ and imported.
            if known.location == definition.location:
                self._jobs[definition.job_type] = definition
                return
        raise ConfigurationError(
            f"job type {definition.job_type!r} is declared twice:"
            f" at {known.location} and at {definition.location}"
        )

    def include(self, other: Registry) -> None:
        """
        Register everything that *other* holds.

        Raises:
            ConfigurationError: As `add`.
        """
        for definition in other:
            self.add(definition)

    def compile(self) -> None:
        """
        Compile every binder, so that a bad annotation stops the worker and not a job.

        Raises:
            ConfigurationError: Names the handler and the parameter.
        """
        for definition in self:
            definition.binder  # noqa: B018 - compiled at first use

    def registrations(self) -> list[dict[str, Any]]:
        """What pgqueue.register_job_types() takes."""
        return [definition.registration() for definition in self]

    def schedule_registrations(self) -> list[dict[str, Any]]:
        """
        What pgqueue.register_schedules() takes.

        Raises:
            ConfigurationError: Two handlers declare a schedule of the same name.
        """
        found: dict[str, dict[str, Any]] = {}
        for definition in self:
            for one in definition.schedule_registrations():
                if one["name"] in found:
                    raise ConfigurationError(
                        f"schedule {one['name']!r} is declared twice, again at"
                        f" {definition.location}"
                    )
                found[one["name"]] = one
        return list(found.values())

    def limit_registrations(self) -> list[dict[str, Any]]:
        """
        What pgqueue.register_limits() takes.

        Raises:
            ConfigurationError: The environment says nonsense.
        """
        return [one for definition in self for one in definition.limit_registrations()]

    @overload
    def job(self, name: Callable[P, R], /) -> Handler[P, R]: ...

    @overload
    def job(
        self,
        name: str | None = None,
        /,
        *,
        queue: str | None = None,
        retries: int | None = None,
        timeout: float | dt.timedelta | None = None,
        transactional: bool = False,
        isolation: Isolation | None = None,
        backoff: Backoff | None = None,
        retention: float | dt.timedelta | None = None,
        description: str | None = None,
        schedule: str | Schedule | Iterable[Schedule] | None = None,
        max_running: int | None = None,
        max_running_per_key: int | None = None,
        rate: str | None = None,
    ) -> Callable[[Callable[P, R]], Handler[P, R]]: ...

    def job(
        self,
        name: Callable[..., Any] | str | None = None,
        /,
        *,
        queue: str | None = None,
        retries: int | None = None,
        timeout: float | dt.timedelta | None = None,
        transactional: bool = False,
        isolation: Isolation | None = None,
        backoff: Backoff | None = None,
        retention: float | dt.timedelta | None = None,
        description: str | None = None,
        schedule: str | Schedule | Iterable[Schedule] | None = None,
        max_running: int | None = None,
        max_running_per_key: int | None = None,
        rate: str | None = None,
    ) -> Any:
        """
        Declare a handler. The function stays as it is and gets an attribute `job`.

        Args:
            name: The job type; by default the function's name.
            queue: Where its jobs go, unless the row says otherwise.
            retries: Attempts after the first; None takes the database's default.
            timeout: How long one run may take; seconds or a timedelta.
            transactional: Give the handler a transaction, `ctx.connection`, that commits together
                with the completion.
            isolation: "process" for work that must be killable or uses a CPU; sync functions only.
            backoff: How long to wait between attempts.
            retention: How long finished jobs are kept; seconds or a timedelta.
            description: For `pgqueue types`; by default the docstring's first line.
            schedule: When its jobs are enqueued without anybody asking: a cron expression in UTC, a
                Schedule, or several with names.
            max_running: At most so many of its jobs run at once, in all workers together.
            max_running_per_key: The same for each concurrency_key alone.
            rate: At most so many start in a time: "100/minute", "5/second", "20/30 seconds".

        Raises:
            ConfigurationError: An option, a parameter or a second declaration; says where.
        """

        def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
            definition = define(
                function,
                None if callable(name) else name,
                queue=queue,
                retries=retries,
                timeout=timeout,
                transactional=transactional,
                isolation=isolation,
                backoff=backoff,
                retention=retention,
                description=description,
                schedule=schedule,
                max_running=max_running,
                max_running_per_key=max_running_per_key,
                rate=rate,
            )
            _compile_early(definition, depth=3 if callable(name) else 2)
            self.add(definition)
            function.job = definition  # type: ignore[attr-defined]
            return function

        return decorate(name) if callable(name) else decorate


def _compile_early(definition: JobDefinition, *, depth: int) -> None:
    # Inside a function, annotations may use its local classes: only its frame knows them.
    frame = sys._getframe(depth)  # noqa: SLF001
    local = frame.f_locals if frame.f_locals is not frame.f_globals else None
    try:
        definition.compile(local)
    except ConfigurationError as exc:
        # A name defined further down the module; load_app compiles again when it is complete.
        if not isinstance(exc.__cause__, NameError):
            raise


default_registry = Registry("the default registry")
job = default_registry.job

_STDLIB = sysconfig.get_path("stdlib")


def load_app(app: str) -> Registry:
    """
    Import a worker application and return its compiled registry.

    Args:
        app: A module (`workers.demo`), or a module and a Registry in it (`workers.demo:jobs`). It
            is looked up from the current directory first, as `python -m` does.

    Raises:
        ConfigurationError: The module is missing or broken, or declares no handlers.
    """
    module_name, _, attribute = app.partition(":")
    module = import_module(module_name)
    if attribute:
        registry = getattr(module, attribute, None)
        if not isinstance(registry, Registry):
            raise ConfigurationError(f"app {app}: {attribute} is no Registry of {module_name}")
    else:
        registry = _registry_of(module)
    if not len(registry):
        raise ConfigurationError(
            f"app {app} declares no handlers",
            hint="Decorate them with @job; a package must import the modules that hold them.",
        )
    registry.compile()
    return registry


def import_module(name: str) -> ModuleType:
    """
    Import a module of an application, from the current directory first.

    Raises:
        ConfigurationError: It is missing or broken; says which, and where.
    """
    check_module_name(name)
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    importlib.invalidate_caches()
    try:
        return importlib.import_module(name)
    except SystemExit as exc:
        raise ConfigurationError(
            f"app {name} ends the program when it is imported: exit({exc.code!r}){_where(exc)}",
            hint="Put that behind `if __name__ == '__main__':`.",
        ) from exc
    except ModuleNotFoundError as exc:
        # Missing itself, or missing something that it imports: different people fix these.
        if exc.name and f"{name}.".startswith(f"{exc.name}."):
            raise ConfigurationError(
                f"app {name}: there is no module {exc.name}",
                hint=f"Run this from the directory that holds it, not from {here}."
                if exc.name != name or "." not in name
                else f"If {name.rpartition('.')[0]} is there, it has no such part.",
            ) from None
        raise ConfigurationError(f"app {name} does not import: {exc}{_where(exc)}") from exc
    except PgqueueError:
        raise
    except Exception as exc:  # whatever a module does at import time
        raise ConfigurationError(
            f"app {name} does not import: {type(exc).__name__}: {exc}{_where(exc)}"
        ) from exc


def check_module_name(name: str) -> None:
    """
    Make sure that *name* can be a module's.

    Raises:
        ConfigurationError: It cannot; a path says what to write instead.
    """
    if _is_path(name) or not all(part.isidentifier() for part in name.split(".")):
        raise ConfigurationError(f"{name!r} is not the name of a module", hint=_instead_of(name))


def _is_path(name: str) -> bool:
    # `shop.py` could be a module py of a package shop, but never is.
    return os.sep in name or name.endswith(".py")


def _instead_of(path: str) -> str:
    """What to write where somebody gave *path*."""
    file = Path(path.removesuffix(".py"))
    if file.is_relative_to(Path.cwd()):
        file = file.relative_to(Path.cwd())
    parts = [part for part in file.parts if part != "__init__"]
    if parts and all(part.isidentifier() for part in parts):
        return f"Write {'.'.join(parts)}: a module is named, not a file."
    return "Write it as `package.module`."


def _where(exc: BaseException) -> str:
    """The innermost line that is not Python's own: the import, or the call, to mend."""
    if isinstance(exc, SyntaxError):  # names its line itself, and has none of ours
        return ""
    places = [
        f" ({frame.filename}, line {frame.lineno})"
        for frame in traceback.extract_tb(exc.__traceback__)
        if not _is_pythons_own(frame.filename)
    ]
    # The first is the call in this module.
    return places[-1] if len(places) > 1 else ""


def _is_pythons_own(file: str) -> bool:
    inside = file.startswith((_STDLIB, "<frozen "))
    return inside and "site-packages" not in file


def _registry_of(module: ModuleType) -> Registry:
    found = {id(value): value for value in vars(module).values() if isinstance(value, Registry)}
    found.pop(id(default_registry), None)
    own = any(_belongs(definition, module) for definition in default_registry)
    if not found:
        return default_registry
    if own or len(found) > 1:
        raise ConfigurationError(
            f"app {module.__name__} has more than one registry",
            hint=f"Name one: {module.__name__}:attribute, or include() the others into it.",
        )
    return found.popitem()[1]


def _belongs(definition: JobDefinition, module: ModuleType) -> bool:
    return f"{definition.function.__module__}.".startswith(f"{module.__name__}.")
