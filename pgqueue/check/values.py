"""Rules about one value that goes into one column or argument."""

from __future__ import annotations

import difflib
import json
from typing import TYPE_CHECKING, Any

from pgqueue.check.model import COMPOSED, Problem
from pgqueue.check.nodes import offset_of, placeholder_of, text_of
from pgqueue.errors import PayloadMismatch, PgqueueError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sqlglot import exp

    from pgqueue.check.known import Known
    from pgqueue.check.statement import Statement

# Their drivers send a string as text; others leave its type to the server, which then takes it.
_TYPED = {"cs", "java"}


def check_value(
    name: str, kind: str, value: exp.Expr, statement: Statement, known: Known
) -> Iterator[Problem]:
    """
    Compare a value with the column or argument that takes it.

    Args:
        name: The column's; an argument's without `p_`.
        kind: Its type.
        value: What is given.
        statement: Of both.
        known: Job types and queues.
    """
    if kind == "jsonb":
        yield from _uncast(name, value, statement)
    text = text_of(value)
    if text is None:
        return
    at = offset_of(value, statement)
    match name:
        case "job_type" if known.job_types is not None and text not in known.job_types:
            yield Problem(
                at, "unknown-job-type", f"no handler has the job type {text!r}",
                _close(text, known.job_types, "Register a handler for it, or correct the name."),
            )  # fmt: skip
        case "queue" if known.queues is not None and text not in known.queues:
            yield Problem(
                at, "unknown-queue", f"no worker and no job type has the queue {text!r}",
                _close(text, known.queues, "Start a worker with --queue, or correct the name."),
                level="warning",
            )  # fmt: skip
        # `_` is a value that was pasted in: reported as such, and nobody knows what it holds.
        case "payload" | "headers" if text != "_" and json_object(text) is None:
            yield Problem(
                at, "payload-json", f"{name} is not a JSON object",
                "Write an object: '{\"key\": \"value\"}'.",
            )  # fmt: skip


def _uncast(name: str, value: exp.Expr, statement: Statement) -> Iterator[Problem]:
    placeholder = placeholder_of(value, statement)
    if placeholder is None or placeholder.text == COMPOSED:
        return
    shown = placeholder.text if placeholder.text.isprintable() else "the parameter"
    typed = statement.language in _TYPED
    yield Problem(
        placeholder.offset, "text-into-jsonb",
        f"{shown} goes into the jsonb {name} without a cast: 42804 if it is sent as text",
        f"Write {shown}::jsonb, set the parameter's type to jsonb, or insert into pgqueue.inbox.",
        level="error" if typed else "warning",
    )  # fmt: skip


def _close(text: str, names: Iterable[str], otherwise: str) -> str:
    close = difflib.get_close_matches(text, list(names), n=1)
    return f"Did you mean {close[0]!r}?" if close else otherwise


def json_object(text: str) -> dict[str, Any] | None:
    """The object that a JSON text is; None if it is none. What was interpolated counts as `_`."""
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def check_signature(
    job_type: exp.Expr | None,
    payload: exp.Expr | None,
    statement: Statement,
    known: Known,
) -> Iterator[Problem]:
    """
    Bind a payload literal to the handler of a job type literal.

    Args:
        job_type: What goes into job_type.
        payload: What goes into payload; None: the default, an empty object.
        statement: Of both.
        known: Its registry has the handlers.
    """
    name = text_of(job_type)
    if known.registry is None or name is None or name not in known.registry:
        return
    text = "{}" if payload is None else text_of(payload)
    found = None if text is None else json_object(text)
    if found is None or any("_" in str(value) for value in found.values() if _spliced(statement)):
        return
    at = offset_of(payload or job_type, statement)
    try:
        known.registry.get(name).binder.bind(found)
    except PayloadMismatch as error:
        yield Problem(
            at, "payload-signature", error.message, "Write what the handler's parameters take."
        )
    except PgqueueError as error:
        yield Problem(at, "payload-signature", error.message, error.hint or "Repair the handler.")


def _spliced(statement: Statement) -> bool:
    return any(one.quoted for one in statement.spliced)
