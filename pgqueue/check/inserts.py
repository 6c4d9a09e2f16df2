"""Rules about INSERT and COPY into pgqueue.jobs and pgqueue.inbox."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from sqlglot import exp

from pgqueue.check.model import COMPOSED, Problem
from pgqueue.check.nodes import name_of, offset_of, ours
from pgqueue.check.values import check_signature, check_value

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgqueue.check.contract import Column, Contract
    from pgqueue.check.known import Known
    from pgqueue.check.statement import Statement


def check_insert(
    insert: exp.Insert, statement: Statement, contract: Contract, known: Known
) -> Iterator[Problem]:
    """
    All rules of one INSERT into a door.

    Args:
        insert: Into jobs or inbox.
        statement: Of it.
        contract: The columns.
        known: Job types, queues, handlers.
    """
    into = insert.this
    table = into.this if isinstance(into, exp.Schema) else into
    relation = ours(table)
    assert relation is not None
    columns = contract.doors[relation]
    at = offset_of(table.this, statement)
    listed = list(into.expressions) if isinstance(into, exp.Schema) else []
    if not listed:
        yield Problem(
            at, "no-column-list", f"INSERT into pgqueue.{relation} without a column list",
            "Name the columns: insert into pgqueue.jobs (job_type, payload) values (...).",
        )  # fmt: skip
    elif all(isinstance(one, exp.Identifier) for one in listed):  # else composed at run time
        yield from check_columns(
            [(name_of(one), offset_of(one, statement)) for one in listed], relation, columns, at
        )
        yield from _rows(
            insert, [name_of(one) for one in listed], relation, statement, contract, known
        )
    yield from _conflict(insert, relation, statement, contract)


def check_columns(
    named: list[tuple[str, int]], relation: str, columns: dict[str, Column], at: int
) -> Iterator[Problem]:
    """
    The columns that an INSERT or a COPY names.

    Args:
        named: Name and offset.
        relation: jobs or inbox.
        columns: That it has.
        at: Of the statement.
    """
    writable = [column.name for column in columns.values() if column.insertable]
    for name, offset in named:
        if name not in columns:
            close = difflib.get_close_matches(name, writable, n=1)
            yield Problem(
                offset, "unknown-column", f"pgqueue.{relation} has no column {name!r}",
                f"Did you mean {close[0]!r}?" if close else f"There are: {', '.join(writable)}.",
            )  # fmt: skip
        elif not columns[name].insertable:
            yield Problem(
                offset, "unwritable-column", f"{name} is filled in by the schema",
                f"Leave {name} out; RETURNING {name} tells it.",
            )  # fmt: skip
    if "job_type" not in {name for name, _ in named}:
        yield Problem(
            at, "missing-job-type", "the INSERT does not name job_type",
            "Add job_type: it says which handler runs the job.",
        )  # fmt: skip


def _rows(
    insert: exp.Insert,
    names: list[str],
    relation: str,
    statement: Statement,
    contract: Contract,
    known: Known,
) -> Iterator[Problem]:
    columns = contract.doors[relation]
    for row in _values(insert.expression):
        if any(isinstance(value, exp.Star) or value.find(exp.Star) for value in row):
            continue
        composed = any(one.text == COMPOSED for one in statement.placeholders.values())
        if len(row) != len(names) and not composed:
            yield Problem(
                offset_of(row[0] if row else insert, statement), "values-count",
                f"{len(row)} values for {len(names)} columns",
                "Write one value per column, in the order of the column list.",
            )  # fmt: skip
            continue
        given = dict(zip(names, row, strict=False))
        for name, value in given.items():
            column = columns.get(name)
            if column is None:
                continue
            if column.not_null and isinstance(value, exp.Null):
                yield Problem(
                    offset_of(insert.this, statement), "null-value",
                    f"{name} takes no NULL (23502)",
                    f"Leave {name} out, write DEFAULT, or insert into pgqueue.inbox.",
                )  # fmt: skip
            yield from check_value(name, column.type, value, statement, known)
        if "payload" in names or "job_type" in names:
            payload = given.get("payload")
            yield from check_signature(given.get("job_type"), payload, statement, known)


def _values(source: exp.Expr | None) -> Iterator[list[exp.Expr]]:
    match source:
        case exp.Values():
            for row in source.expressions:
                yield list(row.expressions) if isinstance(row, exp.Tuple) else [row.this]
        case exp.Select():
            yield [one.this if isinstance(one, exp.Alias) else one for one in source.expressions]
        case exp.SetOperation():
            yield from _values(source.left)
            yield from _values(source.right)
        case exp.Subquery():
            yield from _values(source.this)


def _conflict(
    insert: exp.Insert, relation: str, statement: Statement, contract: Contract
) -> Iterator[Problem]:
    conflict = insert.args.get("conflict")
    if conflict is None:
        return
    keys = [name_of(key.find(exp.Identifier)) for key in conflict.args.get("conflict_keys") or ()]
    at = offset_of(conflict, statement)
    if at == statement.offset(0):
        at = offset_of(insert.this, statement)
    constraint = conflict.args.get("constraint")
    action = str(conflict.args.get("action") or "").upper()
    if "UPDATE" in action:
        yield Problem(
            at, "conflict-update", f"ON CONFLICT DO UPDATE on pgqueue.{relation}: 42501",
            "Call pgqueue.enqueue(..., p_on_duplicate => 'replace'), 'debounce' or 'merge'.",
        )  # fmt: skip
    wanted = _wrong_target(
        keys, constraint, conflict.args.get("index_predicate"), relation, contract
    )
    if wanted is not None:
        yield Problem(at, "conflict-target", *wanted)


def _wrong_target(
    keys: list[str],
    constraint: exp.Expr | None,
    predicate: exp.Expr | None,
    relation: str,
    contract: Contract,
) -> tuple[str, str] | None:
    if not keys and constraint is None:
        return None
    plain = "Write ON CONFLICT DO NOTHING without a target."
    if relation == "inbox":
        return "pgqueue.inbox is a view: no ON CONFLICT target fits it (42P10)", plain
    if constraint is not None:
        name = name_of(constraint)
        if name in contract.constraints:
            return None
        return f"pgqueue.jobs has no constraint {name!r} (42704; unique indexes are none)", plain
    found = contract.targets.get(tuple(sorted(keys)), "")
    if found == "":
        return f"no unique index of pgqueue.jobs is on ({', '.join(keys)}) (42P10)", plain
    if found is not None and predicate is None:
        fix = f"Add its predicate: ON CONFLICT ({', '.join(keys)}) WHERE {found} IS NOT NULL."
        return f"the unique index on ({', '.join(keys)}) is partial (42P10)", fix
    return None
