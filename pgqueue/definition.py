"""One declared handler: its options, checked where it is declared."""

from __future__ import annotations

import inspect
import types
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, Protocol, TypeVar

from pgqueue.binding import compile_binder
from pgqueue.errors import ConfigurationError, InvalidArgument
from pgqueue.follow_up import seconds_of
from pgqueue.limiting import check_max_running, parse_rate
from pgqueue.limiting import registrations as limit_registrations
from pgqueue.schedule import declared, registrations

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Iterable

    from pgqueue.binding import Binder
    from pgqueue.schedule import Schedule

__all__ = ["Backoff", "Handler", "Isolation", "JobDefinition", "define"]

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)

Isolation = Literal["thread", "process"]

# The bounds of the CHECKs of pgqueue.job_types.
JOB_TYPE_CHARACTERS_MAX = 100
QUEUE_CHARACTERS_MAX = 63
ATTEMPTS_MAX = 10_000
BACKOFF_BASE_SECONDS_MAX = 7 * 86_400
BACKOFF_FACTOR_MAX = 100
RETENTION_SECONDS_MAX = 100 * 366 * 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """
    How long to wait before the next attempt: random between 0 and min(cap, base * factor ** n).

    Attributes:
        base: After the first attempt; seconds or a timedelta. None everywhere: the database's.
        factor: How much longer after each further attempt, 1 to 100.
        cap: Never longer; seconds or a timedelta.

    Raises:
        InvalidArgument: Beyond what pgqueue.job_types takes.
    """

    base: float | dt.timedelta | None = None
    factor: float | None = None
    cap: float | dt.timedelta | None = None

    def __post_init__(self) -> None:
        self.registration()
        if self.factor is not None and not 1 <= self.factor <= BACKOFF_FACTOR_MAX:
            raise InvalidArgument(f"backoff factor must be 1 to {BACKOFF_FACTOR_MAX}")

    def registration(self) -> dict[str, float]:
        """The keys of pgqueue.register_job_types() that are set."""
        values: dict[str, float] = {}
        if self.base is not None:
            base = seconds_of("backoff base", self.base, seconds_max=BACKOFF_BASE_SECONDS_MAX)
            values["backoff_base_seconds"] = base
        if self.factor is not None:
            values["backoff_factor"] = self.factor
        if self.cap is not None:
            values["backoff_cap_seconds"] = seconds_of("backoff cap", self.cap)
        return values


@dataclass(frozen=True, slots=True, kw_only=True)
class JobDefinition:
    """
    One handler and its options; None means the database's default.

    Attributes:
        job_type: What jobs.job_type says.
        function: The handler as it was written.
        timeout_seconds: How long one run may take.
        transactional: The handler gets a transaction that commits together with the completion.
        isolation: Where it runs: None is the event loop for async handlers, else a thread.
        location: `file:line`, for messages.
        schedules: When its jobs are enqueued without anybody asking.
        max_running: How many of its jobs run at once, in all workers together.
        max_running_per_key: The same for each concurrency_key alone.
        rate: How many start, per how many seconds.
    """

    job_type: str
    function: Callable[..., Any]
    location: str
    queue: str | None = None
    max_attempts: int | None = None
    timeout_seconds: float | None = None
    transactional: bool = False
    isolation: Isolation | None = None
    backoff: Backoff | None = None
    retention_seconds: float | None = None
    description: str | None = None
    schedules: tuple[Schedule, ...] = ()
    max_running: int | None = None
    max_running_per_key: int | None = None
    rate: tuple[int, float] | None = None
    _compiled: list[Binder] = field(default_factory=list, repr=False, compare=False)

    @property
    def is_async(self) -> bool:
        """Whether the handler is a coroutine function."""
        return inspect.iscoroutinefunction(self.function)

    @property
    def binder(self) -> Binder:
        """
        The handler's binder, compiled at first use.

        Raises:
            ConfigurationError: A parameter that no payload can fill.
        """
        if not self._compiled:
            self.compile()
        return self._compiled[0]

    def compile(self, namespace: dict[str, Any] | None = None) -> None:
        """
        Compile the binder, with more names that its annotations may use.

        Raises:
            ConfigurationError: A parameter that no payload can fill, or an undefined name.
        """
        try:
            self._compiled[:] = [compile_binder(self.function, self.job_type, namespace)]
        except NameError as exc:
            raise ConfigurationError(
                f"job type {self.job_type} at {self.location}: {exc}",
                hint="Annotations are read at run time: import their names outside TYPE_CHECKING.",
            ) from exc

    def registration(self) -> dict[str, Any]:
        """Return what pgqueue.register_job_types() takes; only what is set."""
        values = {
            "job_type": self.job_type,
            "queue": self.queue,
            "max_attempts": self.max_attempts,
            "timeout_seconds": self.timeout_seconds,
            "retention_seconds": self.retention_seconds,
            "description": self.description,
            **(self.backoff.registration() if self.backoff else {}),
        }
        return {key: value for key, value in values.items() if value is not None}

    def schedule_registrations(self) -> list[dict[str, Any]]:
        """
        What pgqueue.register_schedules() takes: what is declared, and what the environment says.

        Raises:
            ConfigurationError: The environment says nonsense.
        """
        return registrations(self.job_type, self.schedules, description=self.description)

    def limit_registrations(self) -> list[dict[str, Any]]:
        """
        What pgqueue.register_limits() takes: what is declared, and what the environment says.

        Raises:
            ConfigurationError: The environment says nonsense.
        """
        return limit_registrations(
            self.job_type,
            max_running=self.max_running,
            max_running_per_key=self.max_running_per_key,
            rate=self.rate,
        )


class Handler(Protocol[P, R_co]):
    """A decorated function: it is called as before, and carries its definition."""

    job: JobDefinition
    __name__: str

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Run the handler by hand, without a queue."""


def define(
    function: Callable[..., Any],
    name: str | None,
    *,
    queue: str | None,
    retries: int | None,
    timeout: float | dt.timedelta | None,
    transactional: bool,
    isolation: Isolation | None,
    backoff: Backoff | None,
    retention: float | dt.timedelta | None,
    description: str | None,
    schedule: str | Schedule | Iterable[Schedule] | None,
    max_running: int | None,
    max_running_per_key: int | None,
    rate: str | None,
) -> JobDefinition:
    """
    Check the options of `@job` and build the definition.

    Raises:
        ConfigurationError: Names the function and the option.
    """
    if not isinstance(function, types.FunctionType):
        raise ConfigurationError(f"@job decorates functions, not {function!r}")
    code = inspect.unwrap(function).__code__
    location = f"{code.co_filename}:{code.co_firstlineno}"
    try:
        _check_function(function, isolation)
        return JobDefinition(
            job_type=_name(
                "the job type", function.__name__ if name is None else name, JOB_TYPE_CHARACTERS_MAX
            ),
            function=function,
            location=location,
            queue=None if queue is None else _name("queue", queue, QUEUE_CHARACTERS_MAX),
            max_attempts=_max_attempts(retries),
            timeout_seconds=None if timeout is None else seconds_of("timeout", timeout),
            transactional=transactional,
            isolation=isolation,
            backoff=_backoff(backoff),
            retention_seconds=_retention(retention),
            description=description or _first_line(function),
            schedules=declared(schedule),
            max_running=check_max_running("max_running", max_running),
            max_running_per_key=check_max_running("max_running_per_key", max_running_per_key),
            rate=None if rate is None else parse_rate(rate),
        )
    except InvalidArgument as exc:
        message = f"@job of {function.__qualname__} at {location}: {exc.message}"
        raise ConfigurationError(message, hint=exc.hint) from None


def _check_function(function: types.FunctionType, isolation: str | None) -> None:
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise InvalidArgument("a generator is not a handler", hint="Return a list.")
    if isolation not in {None, "thread", "process"}:
        raise InvalidArgument(f"isolation must be None, 'thread' or 'process', not {isolation!r}")
    if isolation is None:
        return
    if inspect.iscoroutinefunction(function):
        raise InvalidArgument(
            f"isolation={isolation!r} is for sync functions", hint="Use def, not async def."
        )
    # A child process finds the function by importing its module.
    if isolation == "process" and "." in function.__qualname__:
        raise InvalidArgument("isolation='process' is for functions at module level")


def _name(what: str, value: str, characters_max: int) -> str:
    if not 1 <= len(value) <= characters_max:
        raise InvalidArgument(f"{what} must have 1 to {characters_max} characters")
    if not value.isprintable() or value != value.strip():
        raise InvalidArgument(f"{what} {value!r} has white space around it or control characters")
    return value


def _max_attempts(retries: int | None) -> int | None:
    if retries is None:
        return None
    if type(retries) is not int or not 0 <= retries < ATTEMPTS_MAX:
        raise InvalidArgument(f"retries must be 0 to {ATTEMPTS_MAX - 1}, not {retries!r}")
    return retries + 1


def _backoff(backoff: Backoff | None) -> Backoff | None:
    if backoff is not None and not isinstance(backoff, Backoff):
        raise InvalidArgument(f"backoff must be a Backoff, not {type(backoff).__name__}")
    return backoff


def _retention(retention: float | dt.timedelta | None) -> float | None:
    # Zero is legal here: a finished job of this type need not be kept at all.
    if not retention:
        return None if retention is None else 0.0
    return seconds_of("retention", retention, seconds_max=RETENTION_SECONDS_MAX)


def _first_line(function: types.FunctionType) -> str | None:
    return (inspect.getdoc(function) or "").partition("\n")[0] or None
