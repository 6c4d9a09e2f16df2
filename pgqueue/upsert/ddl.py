"""A table's definition, read from the text of its CREATE TABLE by sqlglot."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from pgqueue.errors import InvalidArgument
from pgqueue.upsert.table import Column, Table, quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_SERIAL = {"SERIAL": "integer", "BIGSERIAL": "bigint", "SMALLSERIAL": "smallint"}
_NO_EQUALITY = {"json", "xml", "point", "line", "lseg", "box", "path", "polygon", "circle"}


def table_from(text: str, name: str) -> Table:
    """
    Read a table's definition.

    Args:
        text: SQL with its CREATE TABLE and, perhaps, CREATE UNIQUE INDEX.
        name: As in SQL.

    Raises:
        InvalidArgument: The text cannot be read, or does not create the table.
    """
    # It warns of whatever else the text holds, such as functions.
    logging.getLogger("sqlglot").setLevel(logging.ERROR)
    try:
        trees = sqlglot.parse(text, read="postgres")
        wanted = exp.to_table(name, dialect="postgres")
    except SqlglotError as error:
        raise InvalidArgument(f"the DDL cannot be read: {error}") from error
    found: Table | None = None
    indexes: set[tuple[str, ...]] = set()
    for tree in trees:
        if not isinstance(tree, exp.Create):
            continue
        if isinstance(tree.this, exp.Schema) and _same(tree.this.this, wanted):
            found = _table(tree.this)
        elif isinstance(tree.this, exp.Index) and tree.args.get("unique"):
            indexes |= set(_index(tree.this, wanted))
    if found is None:
        raise InvalidArgument(f"the DDL creates no table {name}")
    return Table(found.schema, found.name, found.columns, found.keys | indexes)


def _name(identifier: exp.Expr | None) -> str:
    if identifier is None:
        return ""
    return identifier.name if identifier.args.get("quoted") else identifier.name.lower()


def _same(table: exp.Expr, wanted: exp.Table) -> bool:
    return (_name(table.args.get("db")), _name(table.this)) == (
        _name(wanted.args.get("db")),
        _name(wanted.this),
    )


def _table(schema: exp.Schema) -> Table:
    inside = _name(schema.this.args.get("db")) or None
    columns: list[Column] = []
    keys: set[tuple[str, ...]] = set()
    for part in schema.expressions:
        if isinstance(part, exp.ColumnDef):
            columns.append(_column(part, inside))
            kinds = [one.kind for one in part.constraints]
            unique = (exp.PrimaryKeyColumnConstraint, exp.UniqueColumnConstraint)
            if any(isinstance(kind, unique) for kind in kinds):
                keys.add((_name(part.this),))
        else:
            keys |= set(_keys(part))
    return Table(inside, _name(schema.this.this), tuple(columns), frozenset(keys))


def _keys(part: exp.Expr) -> Iterator[tuple[str, ...]]:
    match part:
        case exp.PrimaryKey():
            yield tuple(sorted(_name(one.find(exp.Identifier)) for one in part.expressions))
        case exp.UniqueColumnConstraint() if isinstance(part.this, exp.Schema):
            yield tuple(sorted(_name(one) for one in part.this.expressions))
        case exp.Constraint():
            for one in part.expressions:
                yield from _keys(one)


def _index(index: exp.Index, wanted: exp.Table) -> Iterator[tuple[str, ...]]:
    params = index.args.get("params")
    table = index.args.get("table")
    if params is None or table is None or not _same(table, wanted) or params.args.get("where"):
        return
    columns = [one.this for one in params.args.get("columns") or ()]
    if columns and all(isinstance(one, exp.Column) for one in columns):
        yield tuple(sorted(_name(one.this) for one in columns))


def _column(part: exp.ColumnDef, schema: str | None) -> Column:
    kind = part.args["kind"]
    constraints = [one.kind for one in part.constraints]
    type_ = _type(kind, schema)
    default = _first(constraints, exp.DefaultColumnConstraint)
    identity = _first(constraints, exp.GeneratedAsIdentityColumnConstraint)
    collation = _first(constraints, exp.CollateColumnConstraint)
    return Column(
        name=_name(part.this),
        type=_SERIAL.get(type_.upper(), type_),
        collation=None if collation is None else collation.this.sql(dialect="postgres"),
        computed=any(isinstance(one, exp.ComputedColumnConstraint) for one in constraints)
        or (identity is not None and bool(identity.this)),
        filled=type_.upper() in _SERIAL
        or identity is not None
        or (default is not None and default.this.find(exp.Func) is not None),
        comparable=type_.lower().removesuffix("[]") not in _NO_EQUALITY and not _foreign(kind),
    )


def _first(constraints: Iterable[exp.Expr], kind: type[exp.Expr]) -> exp.Expr | None:
    return next((one for one in constraints if isinstance(one, kind)), None)


def _foreign(kind: exp.Expr) -> bool:
    return any(one.this == exp.DType.USERDEFINED for one in kind.find_all(exp.DataType))


def _type(kind: exp.Expr, schema: str | None) -> str:
    text = kind.sql(dialect="postgres")
    text = text if '"' in text else text.lower()
    if _foreign(kind) and "." not in text and schema is not None:
        return f"{quoted(schema)}.{text}"
    return text
