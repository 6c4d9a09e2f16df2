"""
What producers may write and call: columns, functions, conflict targets.

The table is `contract.json`, made from an installed schema; tests/check/test_contract.py compares
it with the catalogue, and writes it with UPDATE_DOCS=1.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources


@dataclass(frozen=True, slots=True)
class Column:
    """
    One column of a relation that producers insert into.

    Attributes:
        name: As in the catalogue.
        type: As format_type() writes it.
        not_null: NULL is refused.
        default: There is one.
        insertable: pgqueue_producer may name it in an INSERT.
    """

    name: str
    type: str
    not_null: bool
    default: bool
    insertable: bool


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of a function."""

    name: str
    type: str
    default: bool


@dataclass(frozen=True, slots=True)
class Function:
    """
    One function.

    Attributes:
        name: Without the schema.
        arguments: In order.
        granted: Some role may call it; else it is internal.
    """

    name: str
    arguments: tuple[Argument, ...]
    granted: bool


@dataclass(frozen=True, slots=True)
class Contract:
    """
    All of it.

    Attributes:
        doors: jobs and inbox, with their columns by name.
        relations: Every table and view of the schema.
        functions: By name.
        targets: Columns of a unique index of jobs, sorted, and the column whose IS NOT NULL is its
            predicate, if it has one.
        constraints: Names that ON CONFLICT ON CONSTRAINT takes.
    """

    doors: dict[str, dict[str, Column]]
    relations: frozenset[str]
    functions: dict[str, Function]
    targets: dict[tuple[str, ...], str | None]
    constraints: frozenset[str]


@cache
def contract() -> Contract:
    """The contract of this release."""
    text = resources.files(__package__).joinpath("contract.json").read_text(encoding="utf-8")
    return from_json(json.loads(text))


def from_json(data: dict[str, list[list[object]]]) -> Contract:
    """
    Read what `contract.json` holds.

    Args:
        data: Lists of rows, by what they are about.
    """
    doors: dict[str, dict[str, Column]] = {}
    for relation, name, kind, not_null, default, insertable in data["columns"]:
        column = Column(str(name), str(kind), bool(not_null), bool(default), bool(insertable))
        doors.setdefault(str(relation), {})[str(name)] = column
    functions: dict[str, Function] = {}
    for name, granted, arguments in data["functions"]:
        assert isinstance(arguments, list)
        read = tuple(Argument(str(a), str(kind), bool(default)) for a, kind, default in arguments)
        functions[str(name)] = Function(str(name), read, bool(granted))
    targets: dict[tuple[str, ...], str | None] = {}
    for columns, predicate in data["targets"]:
        assert isinstance(columns, list)
        targets[tuple(sorted(map(str, columns)))] = None if predicate is None else str(predicate)
    return Contract(
        doors=doors,
        relations=frozenset(str(name) for (name,) in data["relations"]),
        functions=functions,
        targets=targets,
        constraints=frozenset(str(name) for (name,) in data["constraints"]),
    )
