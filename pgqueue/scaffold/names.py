"""What an application may be called: it becomes a Python package, a schema and a directory."""

from __future__ import annotations

import keyword
import re
import sys

__all__ = ["problem_of"]

_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_TAKEN = frozenset(
    {"pgqueue", "psycopg", "psycopg_pool", "click", "sqlglot", "pytest", "tests"}
    | {"ruff", "mypy", "hatchling", "httpx"}
)
_SCHEMAS = frozenset({"public", "information_schema"})
# Reserved in PostgreSQL: a schema of that name would have to be quoted everywhere.
_RESERVED = frozenset(
    """
    all analyse analyze any array asc asymmetric authorization binary both case cast check collate
    collation column concurrently constraint create cross current_catalog current_date current_role
    current_schema current_time current_timestamp current_user default deferrable desc distinct do
    end except false fetch foreign freeze full grant group having ilike initially inner intersect
    into isnull join lateral leading left like limit localtime localtimestamp natural notnull null
    offset on only order outer overlaps placing primary references returning right select
    session_user similar some symmetric system_user table tablesample then to trailing true union
    unique user using variadic verbose when where window
    """.split()  # noqa: SIM905 - one word a line would be a page
)


def problem_of(name: str) -> str | None:
    """Say what is wrong with a name, in words that follow it; None = nothing."""
    if not _NAME.fullmatch(name):
        return "is not a name: a small letter, then up to 39 small letters, digits and _"
    if name.startswith("pg_") or name in _SCHEMAS:
        return "is a name that PostgreSQL keeps for itself"
    if name in _RESERVED or keyword.iskeyword(name) or keyword.issoftkeyword(name):
        return "is a reserved word of SQL or Python"
    if name in _TAKEN or name in sys.stdlib_module_names:
        return "is a Python package that exists already"
    return None
