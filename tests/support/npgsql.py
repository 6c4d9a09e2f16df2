"""Parameters as Npgsql sends them: binary, with the type that it infers from the C# value."""

from __future__ import annotations

import datetime as dt
import itertools
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psycopg import pq

if TYPE_CHECKING:
    import uuid
    from collections.abc import Sequence

    import psycopg

_EPOCH = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)
_INFINITY = 2**63 - 1
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Param:
    """One parameter: type OID, bytes (None is NULL), format (1 is binary)."""

    oid: int
    value: bytes | None
    format: int = 1


@dataclass(frozen=True, slots=True)
class Answer:
    """What the caller's PostgresException would say, and the rows, as bytes."""

    sqlstate: str | None
    constraint: str | None
    column: str | None
    rows: list[tuple[bytes | None, ...]]

    @property
    def refusal(self) -> tuple[str | None, str | None]:
        """SqlState and ConstraintName."""
        return (self.sqlstate, self.constraint)


def text(value: str | None) -> Param:
    """A string; Dapper also sends a null string so, an untyped null is `null()`."""
    return Param(25, None if value is None else value.encode())


def null() -> Param:
    """DBNull.Value without a type."""
    return Param(0, None)


def untyped(value: str) -> Param:
    """NpgsqlDbType.Unknown, and what drivers send that let the server infer: text, OID 0."""
    return Param(0, value.encode(), 0)


def int2(value: int) -> Param:
    """A short."""
    return Param(21, struct.pack("!h", value))


def int4(value: int) -> Param:
    """An int; Dapper also sends an enum so."""
    return Param(23, struct.pack("!i", value))


def int8(value: int) -> Param:
    """A long."""
    return Param(20, struct.pack("!q", value))


def boolean(*, value: bool) -> Param:
    """A bool."""
    return Param(16, struct.pack("!?", value))


def guid(value: uuid.UUID) -> Param:
    """A Guid."""
    return Param(2950, value.bytes)


def guids(values: Sequence[uuid.UUID]) -> Param:
    """A Guid[]."""
    return _array(2951, 2950, [value.bytes for value in values])


def strings(values: Sequence[str]) -> Param:
    """A string[] or List<string>."""
    return _array(1009, 25, [value.encode() for value in values])


def longs(values: Sequence[int]) -> Param:
    """A long[]."""
    return _array(1016, 20, [struct.pack("!q", value) for value in values])


def utc(value: dt.datetime | None) -> Param:
    """A DateTime of kind Utc, or a DateTimeOffset of offset zero; None: default(DateTime)."""
    return Param(1184, struct.pack("!q", _micros(value)))


def forever() -> Param:
    """DateTime.MaxValue, which Npgsql converts to infinity."""
    return Param(1184, struct.pack("!q", _INFINITY))


def local(value: dt.datetime | None) -> Param:
    """A DateTime of kind Local or Unspecified: timestamp without time zone."""
    return Param(1114, struct.pack("!q", _micros(value)))


def interval(seconds: float) -> Param:
    """A TimeSpan."""
    return Param(1186, struct.pack("!qii", round(seconds * 1_000_000), 0, 0))


def jsonb(value: str) -> Param:
    """A string with NpgsqlDbType.Jsonb, or a JsonDocument."""
    return Param(3802, b"\x01" + value.encode())


def json(value: str) -> Param:
    """A string with NpgsqlDbType.Json."""
    return Param(114, value.encode())


def send(conn: psycopg.Connection[Any], sql: str, *params: Param, prepare: bool = False) -> Answer:
    """
    Parse, bind and execute, unnamed or as a prepared statement; results in binary.

    Args:
        conn: Where.
        sql: With $1, $2, as Npgsql rewrites @names.
        params: For them.
        prepare: As after Prepare() or with automatic preparation.
    """
    raw = conn.pgconn
    values, formats = [p.value for p in params], [p.format for p in params]
    oids = [p.oid for p in params]
    if prepare:
        name = b"npgsql%d" % next(_numbers)
        parsed = raw.prepare(name, sql.encode(), oids)
        result = (
            parsed
            if parsed.status == pq.ExecStatus.FATAL_ERROR
            else raw.exec_prepared(name, values, formats, 1)  # type: ignore[arg-type]  # None is NULL
        )
    else:
        result = raw.exec_params(sql.encode(), values, oids, formats, 1)
    field = pq.DiagnosticField
    return Answer(
        _decoded(result.error_field(field.SQLSTATE)),
        _decoded(result.error_field(field.CONSTRAINT_NAME)),
        _decoded(result.error_field(field.COLUMN_NAME)),
        [
            tuple(result.get_value(row, column) for column in range(result.nfields))
            for row in range(result.ntuples)
        ],
    )


def _micros(value: dt.datetime | None) -> int:
    if value is None:
        return -(2**63)
    aware = value if value.tzinfo else value.replace(tzinfo=dt.UTC)
    return (aware - _EPOCH) // dt.timedelta(microseconds=1)


def _array(oid: int, element: int, values: Sequence[bytes]) -> Param:
    head = struct.pack("!iii", 1, 0, element) + struct.pack("!ii", len(values), 1)
    return Param(oid, head + b"".join(struct.pack("!i", len(one)) + one for one in values))


def _decoded(value: bytes | None) -> str | None:
    return None if value is None else value.decode()
