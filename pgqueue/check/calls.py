"""Rules about calls of our functions."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from sqlglot import exp

from pgqueue.check.model import COMPOSED, Problem
from pgqueue.check.nodes import SCHEMA, name_of, offset_of, placeholder_of, text_of
from pgqueue.check.values import check_signature, check_value

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgqueue.check.contract import Contract, Function
    from pgqueue.check.known import Known
    from pgqueue.check.statement import Statement

_ON_DUPLICATE = ("ignore", "replace", "debounce", "merge")


def calls_of(tree: exp.Expr) -> Iterator[exp.Anonymous]:
    """Every call of a function of our schema, in expressions and in FROM."""
    for call in tree.find_all(exp.Anonymous):
        parent = call.parent
        schema: exp.Expr | None = None
        if isinstance(parent, exp.Dot) and parent.expression is call:
            schema = parent.this
        elif isinstance(parent, exp.Table) and parent.this is call:
            schema = parent.args.get("db")
        if name_of(schema) == SCHEMA:
            yield call


def check_call(
    call: exp.Anonymous, statement: Statement, contract: Contract, known: Known
) -> Iterator[Problem]:
    """
    The function, its arguments, and what is passed for them.

    Args:
        call: One of `calls_of`.
        statement: Of it.
        contract: The functions.
        known: Job types, queues, handlers.
    """
    name = call.name.lower()
    at = offset_of(call, statement)
    function = contract.functions.get(name)
    public = [one.name for one in contract.functions.values() if one.granted]
    if function is None or not function.granted:
        close = difflib.get_close_matches(name, public, n=1)
        what = "does not exist" if function is None else "is internal to the schema"
        yield Problem(
            at, "unknown-function", f"the function pgqueue.{name} {what}",
            f"Did you mean pgqueue.{close[0]}?" if close else r"\df pgqueue.* lists them.",
        )  # fmt: skip
        return
    given: dict[str, exp.Expr] = {}
    yield from _bound(call, function, given, statement, at)
    kinds = {argument.name: argument.type for argument in function.arguments}
    for argument, value in given.items():
        column = argument.removeprefix("p_")
        yield from check_value(column, kinds.get(argument, ""), value, statement, known)
    duplicate = text_of(given.get("p_on_duplicate"))
    if duplicate is not None and duplicate not in _ON_DUPLICATE:
        yield Problem(
            offset_of(given["p_on_duplicate"], statement), "function-arguments",
            f"on_duplicate is {duplicate!r}", f"Use one of {', '.join(_ON_DUPLICATE)}.",
        )  # fmt: skip
    if name == "enqueue":
        yield from check_signature(
            given.get("p_job_type"), given.get("p_payload"), statement, known
        )


def _bound(
    call: exp.Anonymous,
    function: Function,
    given: dict[str, exp.Expr],
    statement: Statement,
    at: int,
) -> Iterator[Problem]:
    names = [argument.name for argument in function.arguments]
    signature = f"pgqueue.{function.name}({', '.join(names)})"
    for index, value in enumerate(call.expressions):
        placeholder = placeholder_of(value, statement)
        if placeholder is not None and placeholder.text == COMPOSED:
            given.update(dict.fromkeys(names, value))  # nobody knows what it stands for
            return
        if isinstance(value, (exp.Kwarg, exp.PropertyEQ)):
            name = name_of(value.this)
            if name not in names:
                close = difflib.get_close_matches(name, names, n=1)
                yield Problem(
                    offset_of(value, statement), "function-arguments",
                    f"pgqueue.{function.name} has no argument {name!r}",
                    f"Did you mean {close[0]}?" if close else f"The call is {signature}.",
                )  # fmt: skip
            elif name in given:
                yield Problem(
                    offset_of(value, statement), "function-arguments",
                    f"{name} is given twice", f"The call is {signature}.",
                )  # fmt: skip
            given[name] = value.expression
        elif index < len(names):
            given[names[index]] = value
        else:
            yield Problem(
                at, "function-arguments",
                f"pgqueue.{function.name} takes {len(names)} arguments at most",
                f"The call is {signature}.",
            )  # fmt: skip
            return
    missing = [one.name for one in function.arguments if not one.default and one.name not in given]
    if missing:
        yield Problem(
            at, "function-arguments",
            f"pgqueue.{function.name} lacks {', '.join(missing)}", f"The call is {signature}.",
        )  # fmt: skip
