"""From a handler's signature to its binder."""

from __future__ import annotations

import inspect
import types
import typing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pgqueue.binding.annotations import CannotBind, Compiler
from pgqueue.binding.converters import Converter, Mismatch
from pgqueue.binding.records import Member, Record
from pgqueue.context import JobContext
from pgqueue.errors import ConfigurationError, PayloadMismatch

if TYPE_CHECKING:
    from collections.abc import Callable

_SUPPORTED = (
    "Use str, int, float, bool, Decimal, UUID, datetime, date, time, timedelta, bytes, Path, Enum,"
    " Literal, dataclass, TypedDict, NamedTuple, pydantic or msgspec models, and lists, tuples,"
    " sets, dicts and unions of them."
)


@dataclass(frozen=True, slots=True)
class Binder:
    """
    Turns payloads into the arguments of one handler.

    Attributes:
        job_type: For messages.
        context_parameter: The parameter that takes the JobContext, if there is one.
        exact_numbers: Whether the payload should be loaded with `exact=True` (see jsonio).
    """

    job_type: str
    context_parameter: str | None
    exact_numbers: bool
    _bind: Callable[[dict[str, Any]], dict[str, Any]]

    def bind(self, payload: dict[str, Any]) -> dict[str, Any]:
        """
        Convert *payload* to keyword arguments, without the context.

        Raises:
            PayloadMismatch: It does not fit; names every field that is wrong, up to ten.
        """
        try:
            return self._bind(payload)
        except Mismatch as exc:
            problems = [(path.removeprefix(".") or "payload", what) for path, what in exc.problems]
        except RecursionError:
            problems = [("payload", "is nested too deeply")]
        listed = "; ".join(f"{path} {what}" for path, what in problems)
        message = f"payload does not fit job type {self.job_type}: {listed}"
        raise PayloadMismatch(message, problems=problems)

    def arguments(self, payload: dict[str, Any], context: JobContext) -> dict[str, Any]:
        """
        Convert *payload* to keyword arguments, with *context* where the handler takes it.

        Raises:
            PayloadMismatch: As `bind`.
        """
        values = self.bind(payload)
        if self.context_parameter is not None:
            values[self.context_parameter] = context
        return values


def compile_binder(
    function: Callable[..., Any], job_type: str, namespace: dict[str, Any] | None = None
) -> Binder:
    """
    Compile the binder of *function*.

    Args:
        function: The handler.
        job_type: For messages.
        namespace: Names that annotations may use beside the module's: those of an enclosing
            function.

    Raises:
        ConfigurationError: A parameter that no payload can fill; the message names it.
        NameError: An annotation names what is not defined (yet).
    """
    inner = inspect.unwrap(function)
    where = f"job type {job_type} ({inner.__module__}.{inner.__qualname__})"
    parameters = list(inspect.signature(inner).parameters.values())
    for parameter in parameters:
        if parameter.kind in {parameter.POSITIONAL_ONLY, parameter.VAR_POSITIONAL}:
            raise ConfigurationError(
                f"{where}: parameter {parameter.name} takes no keyword",
                hint="A payload's keys are passed by keyword; remove the `/` or the `*args`.",
            )
    names = namespace or {}
    hints = {p.name: _evaluated(p, inner, names) for p in parameters}
    context = _context_parameter(parameters, hints, where)
    bound = [parameter for parameter in parameters if parameter.name != context]
    compiler = Compiler(names)
    bind = _whole_payload(bound, hints, compiler) or _by_key(bound, hints, compiler, context, where)
    return Binder(job_type, context, compiler.exact_numbers, bind)


def _evaluated(parameter: inspect.Parameter, function: Any, names: dict[str, Any]) -> Any:
    if parameter.annotation is parameter.empty:
        return Any
    # One parameter at a time: a return annotation that exists only for type checkers does no harm.
    holder = types.SimpleNamespace(__annotations__={parameter.name: parameter.annotation})
    known = {"JobContext": JobContext} | function.__globals__
    hints = typing.get_type_hints(holder, known, names or None, include_extras=True)
    return hints[parameter.name]


def _context_parameter(
    parameters: list[inspect.Parameter], hints: dict[str, Any], where: str
) -> str | None:
    annotated = [p.name for p in parameters if _is_context(hints[p.name])]
    if len(annotated) > 1:
        raise ConfigurationError(f"{where}: {' and '.join(annotated)} are both the context")
    if annotated:
        return annotated[0]
    if "ctx" not in hints:
        return None
    if hints["ctx"] is not Any:
        raise ConfigurationError(
            f"{where}: parameter ctx is not annotated JobContext",
            hint="ctx is the name of the context; rename the parameter or annotate it JobContext.",
        )
    return "ctx"


def _is_context(annotation: Any) -> bool:
    members = typing.get_args(annotation) or (annotation,)
    return any(isinstance(kind, type) and issubclass(kind, JobContext) for kind in members)


def _whole_payload(
    parameters: list[inspect.Parameter], hints: dict[str, Any], compiler: Compiler
) -> Callable[[dict[str, Any]], dict[str, Any]] | None:
    if [parameter.name for parameter in parameters] != ["payload"]:
        return None
    if parameters[0].kind is parameters[0].VAR_KEYWORD:
        return None
    try:
        converter = compiler.converter(hints["payload"])
    except CannotBind:
        return None
    if converter.takes is not dict:
        return None
    return lambda given: {"payload": converter.convert(given)}


def _by_key(
    parameters: list[inspect.Parameter],
    hints: dict[str, Any],
    compiler: Compiler,
    context: str | None,
    where: str,
) -> Callable[[dict[str, Any]], dict[str, Any]]:
    members: list[Member] = []
    rest: Converter | None = None
    for parameter in parameters:
        try:
            converter = compiler.converter(hints[parameter.name])
        except CannotBind as exc:
            message = f"{where}: parameter {parameter.name}: {exc}"
            raise ConfigurationError(message, hint=_SUPPORTED) from None
        if parameter.kind is parameter.VAR_KEYWORD:
            rest = converter
        else:
            required = parameter.default is parameter.empty
            members.append(Member(parameter.name, converter, required))
    reserved = frozenset({context} if context else ())
    return Record(members, rest=rest, reserved=reserved).bind
