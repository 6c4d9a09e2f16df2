"""Reading sqlglot's trees: names, places, placeholders."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp

if TYPE_CHECKING:
    from pgqueue.check.statement import Placeholder, Statement

SCHEMA = "pgqueue"


def name_of(identifier: exp.Expr | None) -> str:
    """An identifier as the catalogue has it: folded to lower case unless quoted."""
    if identifier is None:
        return ""
    name = identifier.name
    quoted = isinstance(identifier, exp.Identifier) and identifier.args.get("quoted")
    return name if quoted else name.lower()


def ours(table: exp.Expr | None) -> str | None:
    """The relation of our schema that *table* names; None for any other, and for functions."""
    if not isinstance(table, exp.Table) or not isinstance(table.this, exp.Identifier):
        return None
    return name_of(table.this) if name_of(table.args.get("db")) == SCHEMA else None


def offset_of(node: exp.Expr | None, statement: Statement) -> int:
    """Where in the file a node begins: where the first of its parts does that knows its place."""
    places = [
        statement.offset(part.meta["start"])
        for part in (node.walk() if node is not None else ())
        if "start" in part.meta
    ]
    return min(places, default=statement.offset(0))


def placeholder_of(node: exp.Expr, statement: Statement) -> Placeholder | None:
    """The placeholder that *node* is, through parentheses; None if it is anything else."""
    while isinstance(node, exp.Paren):
        node = node.this
    if not isinstance(node, exp.Parameter):
        return None
    name = node.name
    return statement.placeholders.get(int(name)) if name.isdecimal() else None


def text_of(node: exp.Expr | None) -> str | None:
    """The string that a literal is, through parentheses and casts; None if it is anything else."""
    while isinstance(node, (exp.Paren, exp.Cast)):
        node = node.this
    return node.name if isinstance(node, exp.Literal) and node.is_string else None
