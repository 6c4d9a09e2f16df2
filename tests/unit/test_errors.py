from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg import errors as pg

from pgqueue import errors
from pgqueue.constraints import IN_WORDS
from pgqueue.errors import (
    DatabaseUnavailable,
    InvalidArgument,
    JobTypeDisabled,
    LeaseLost,
    NotPrimary,
    PayloadMismatch,
    PermissionDenied,
    PgqueueError,
    SchemaMismatch,
    UniqueKeyTaken,
    UnknownJobType,
    from_psycopg,
)

JOB = UUID("0196d4d2-0000-7000-8000-000000000001")
FOLDER = Path(__file__).parents[2] / "sql"
SQL = FOLDER / "functions" / "base.sql"
TABLES = "\n".join(file.read_text() for file in sorted(FOLDER.glob("migrations/*.sql")))
LIMITS = FOLDER / "functions" / "route.sql"


def leaves() -> list[type[PgqueueError]]:
    """Return every class of the tree but the root."""
    kinds = [getattr(errors, name) for name in errors.__all__ if name != "from_psycopg"]
    return [kind for kind in kinds if kind is not PgqueueError]


class Diag:
    """What psycopg reports about an error."""

    def __init__(self, **fields: str) -> None:
        self._fields = fields

    def __getattr__(self, name: str) -> str | None:
        return self._fields.get(name)


def raised(kind: type[psycopg.Error], sqlstate: str | None = None, **diag: str) -> psycopg.Error:
    """Build what psycopg raises."""

    class Fake(kind):  # type: ignore[misc, valid-type]
        @property
        def diag(self) -> Any:
            return Diag(**diag)

    exc: psycopg.Error = Fake(diag.get("message_primary", ""))
    exc.sqlstate = sqlstate
    return exc


def test_every_sqlstate_of_the_schema_has_its_error() -> None:
    """The register in base.sql and the tree map one to one, code by code."""
    declared = dict(re.findall(r"^--   (PQ\d{3}) (\w+) ", SQL.read_text(), re.MULTILINE))
    ours = {kind.sqlstate: kind.code for kind in leaves() if (kind.sqlstate or "").startswith("PQ")}

    assert declared == ours


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    """Each class is drawn with its SQLSTATE and its exit code."""
    drawn = re.findall(r"── (\w+) +(\S+) +(\d)", errors.__doc__ or "")

    assert {(k.__name__, k.sqlstate or "-", str(k.exit_code)) for k in leaves()} == set(drawn)


def test_codes_are_different() -> None:
    """A program that branches on a code branches on one error."""
    codes = [kind.code for kind in leaves()]

    assert len(set(codes)) == len(codes)


@pytest.mark.parametrize("kind", leaves())
def test_an_error_survives_the_way_to_another_process(kind: type[PgqueueError]) -> None:
    """Message, hint and job id come back from pickle."""
    exc = kind("it broke", hint="Mend it.", job_id=JOB)
    back = pickle.loads(pickle.dumps(exc))  # noqa: S301 - our own bytes

    assert (type(back), str(back), back.job_id) == (kind, str(exc), JOB)


def test_a_message_names_the_job_and_what_to_do() -> None:
    """The job id is added once, the hint follows."""
    text = str(LeaseLost("lost", hint="Stop.", job_id=JOB))

    assert text == f"job {JOB}: lost. Stop."
    assert str(LeaseLost(f"job {JOB} is lost", job_id=JOB)) == f"job {JOB} is lost"


def test_our_sqlstates_become_our_errors() -> None:
    """Primary message and hint of the server are kept."""
    exc = raised(
        psycopg.DatabaseError, "PQ001", message_primary="token is stale", message_hint="Stop."
    )
    ours = from_psycopg(exc, job_id=JOB)

    assert isinstance(ours, LeaseLost)
    assert str(ours) == f"job {JOB}: token is stale. Stop."


@pytest.mark.parametrize(
    ("exc", "expected"),
    [
        (raised(pg.InsufficientPrivilege, "42501"), PermissionDenied),
        (raised(pg.ReadOnlySqlTransaction, "25006"), NotPrimary),
        (raised(pg.CheckViolation, "23514", constraint_name="jobs_job_type_known"), UnknownJobType),
        (
            raised(pg.CheckViolation, "23514", constraint_name="jobs_job_type_enabled"),
            JobTypeDisabled,
        ),
        (raised(pg.UniqueViolation, "23505", constraint_name="jobs_unique_key"), UniqueKeyTaken),
        (raised(pg.CheckViolation, "23514", schema_name="pgqueue"), InvalidArgument),
        (raised(pg.CheckViolation, "23514", schema_name="shop"), None),
        (raised(pg.UniqueViolation, "23505", schema_name="shop"), None),
        (
            raised(pg.InvalidSchemaName, "3F000", message_primary='schema "pgqueue" is not here'),
            SchemaMismatch,
        ),
        (raised(pg.UndefinedTable, "42P01", message_primary='relation "orders"'), None),
        (raised(pg.UntranslatableCharacter, "22P05"), InvalidArgument),
        (raised(pg.AdminShutdown, "57P01"), DatabaseUnavailable),
        (raised(pg.ConnectionException, "08006"), DatabaseUnavailable),
        (raised(psycopg.OperationalError, None), DatabaseUnavailable),
        (
            raised(psycopg.OperationalError, None, message_primary="session is read-only"),
            NotPrimary,
        ),
        (raised(psycopg.ProgrammingError, None), None),
        (ValueError("not ours"), None),
    ],
)
def test_what_psycopg_raises_is_named(
    exc: BaseException, expected: type[PgqueueError] | None
) -> None:
    """By SQLSTATE, then constraint, then class; what is the application's own stays as it is."""
    ours = from_psycopg(exc)

    assert (type(ours) if ours else None) is expected


def test_a_refused_column_names_its_constraint() -> None:
    """The constraint's name is what a caller can look up."""
    exc = raised(
        pg.CheckViolation,
        "23514",
        schema_name="pgqueue",
        constraint_name="jobs_priority_check",
        message_primary="new row violates a check",
    )

    assert "jobs_priority_check" in str(from_psycopg(exc))


def test_a_refused_column_says_what_it_may_hold() -> None:
    """In words, with exit code 9; the row that PostgreSQL's DETAIL shows stays out."""
    exc = raised(
        pg.CheckViolation,
        "23514",
        schema_name="pgqueue",
        constraint_name="jobs_payload_size_check",
        message_primary='new row for relation "jobs" violates check constraint',
        message_detail="Failing row contains (secret).",
    )
    ours = from_psycopg(exc)

    assert ours is not None
    assert str(ours) == (
        "payload must have at most 16 MiB as stored (16,777,216 bytes)"
        " (constraint jobs_payload_size_check)"
    )
    assert (ours.exit_code, pickle.loads(pickle.dumps(ours)).exit_code) == (9, 9)  # noqa: S301
    assert InvalidArgument("a usage error").exit_code == 2


def test_an_argument_that_our_functions_refuse_is_a_usage_error() -> None:
    """PQ006 keeps its message and exit code 2."""
    ours = from_psycopg(raised(psycopg.DatabaseError, "PQ006", message_primary="on_duplicate is x"))

    assert (str(ours), ours and ours.exit_code) == ("on_duplicate is x", 2)


def _conditions() -> dict[str, str]:
    """The CHECKs of the tables, and what pgqueue.job_limit() looks at in the place of CHECKs."""
    checks = re.findall(r"constraint (\w+) check \((.*)\),?$", TABLES, re.MULTILINE)
    source = LIMITS.read_text()
    begin, end = source.index("select case") + len("select case"), source.index("    end;\nend;")
    parts = re.split(r"then '(jobs_\w+)'", re.sub(r"--.*", "", source[begin:end]))
    # What a payload must have to be measured at all is no limit.
    limits = [part.rpartition("then null")[2] for part in parts[::2]]
    return dict(checks) | dict(zip(parts[1::2], limits, strict=False))


def test_every_check_that_a_producer_meets_is_in_words() -> None:
    """No limit of jobs or job_types is missing; none is told that is not there."""
    checks = set(re.findall(r"constraint (\w+) check", TABLES)) | set(_conditions())

    assert {name for name in checks if name.startswith(("jobs_", "job_types_"))} <= set(IN_WORDS)
    assert set(IN_WORDS) <= checks


def test_the_words_name_the_column_and_the_limits() -> None:
    """Every number of a limit is in its words, and its column begins them."""
    conditions = {name: text for name, text in _conditions().items() if name in IN_WORDS}
    numbers = {
        name: [f"{int(n):,}" for n in re.findall(r"(?<!\d-)\b\d+\b", text) if n != "0"]
        for name, text in conditions.items()
    }
    columns = {
        name: re.search(r"(?:when (?:not )?)?(?:\w+\()?(?:p_)?(\w+)", text.strip())
        for name, text in conditions.items()
    }

    assert len(conditions) >= len(IN_WORDS) - 1  # one CHECK has two lines
    assert [n for n, each in numbers.items() if any(i not in IN_WORDS[n] for i in each)] == []
    assert [n for n, m in columns.items() if not m or m[1] not in IN_WORDS[n].split()[0]] == []


def test_a_nul_character_is_named() -> None:
    """PostgreSQL says "unsupported Unicode escape sequence"; an encoding's gap stays its own."""
    nul = raised(
        pg.UntranslatableCharacter,
        "22P05",
        message_primary="unsupported Unicode escape sequence",
        message_detail=r"\u0000 cannot be converted to text.",
    )
    other = raised(
        pg.UntranslatableCharacter, "22P05", message_primary="has no equivalent in LATIN1"
    )

    assert str(from_psycopg(nul)) == r"a NUL character (\u0000) cannot be stored in jsonb"
    assert str(from_psycopg(other)) == "has no equivalent in LATIN1"


def test_the_hint_to_grant_a_role_holds_where_there_is_none() -> None:
    """An installer without CREATEROLE leaves the roles out."""
    text = str(from_psycopg(raised(pg.InsufficientPrivilege, "42501", message_primary="denied")))

    assert "pgqueue_producer" in text
    assert "if they do not exist" in text


def test_a_mismatch_lists_at_most_ten_problems() -> None:
    """The first problem's path is the field."""
    exc = PayloadMismatch("no", problems=[(f"items[{i}]", "is missing") for i in range(20)])

    assert (len(exc.problems), exc.field) == (10, "items[0]")
    assert PayloadMismatch("no").field is None
