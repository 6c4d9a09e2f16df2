"""`contract.json` is what the catalogue says; UPDATE_DOCS=1 writes it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pgqueue.check.contract
from pgqueue.check.contract import contract, from_json
from tests.support.sqljobs import column

if TYPE_CHECKING:
    from tests.support.sqljobs import Db

_FILE = Path(pgqueue.check.contract.__file__).with_name("contract.json")
_PARTS = {
    "columns": """
        select c.relname, a.attname, format_type(a.atttypid, null), a.attnotnull, a.atthasdef,
            has_column_privilege('pgqueue_producer', c.oid, a.attnum, 'insert')
        from pg_class c
        join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
        where c.relnamespace = 'pgqueue'::regnamespace and c.relname in ('jobs', 'inbox')
        order by c.relname desc, a.attnum
    """,
    "relations": """
        select c.relname from pg_class c
        where c.relnamespace = 'pgqueue'::regnamespace and c.relkind in ('r', 'v', 'p') order by 1
    """,
    "functions": """
        select p.proname,
            exists (select from aclexplode(p.proacl) a where a.grantee <> p.proowner),
            (select coalesce(jsonb_agg(jsonb_build_array(n.name, format_type(t.type, null),
                    t.n > p.pronargs - p.pronargdefaults) order by t.n), '[]')
             from unnest(p.proargtypes::oid[]) with ordinality as t (type, n)
             join unnest(p.proargnames) with ordinality as n (name, n) on n.n = t.n)
        from pg_proc p
        where p.pronamespace = 'pgqueue'::regnamespace and p.prorettype <> 'trigger'::regtype
        order by 1
    """,
    "targets": """
        select (select jsonb_agg(a.attname order by k.n)
                from unnest(i.indkey::int2[]) with ordinality as k (attnum, n)
                join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum),
            substring(pg_get_expr(i.indpred, i.indrelid) from '^\\((\\w+) IS NOT NULL\\)$')
        from pg_index i
        where i.indrelid = 'pgqueue.jobs'::regclass and i.indisunique order by 1
    """,
    "constraints": """
        select conname from pg_constraint
        where conrelid = 'pgqueue.jobs'::regclass and contype in ('p', 'u') order by 1
    """,
}


def _installed(db: Db) -> dict[str, Any]:
    return {
        part: [list(row) for row in db.execute(query).fetchall()] for part, query in _PARTS.items()
    }


def _written(data: dict[str, Any]) -> str:
    parts = []
    for name, rows in data.items():
        lines = ",\n".join(f"    {json.dumps(row)}" for row in rows)
        parts.append(f'  "{name}": [\n{lines}\n  ]')
    return "{\n" + ",\n".join(parts) + "\n}\n"


def test_the_contract_is_that_of_the_installed_schema(db: Db) -> None:
    """Column by column, argument by argument; UPDATE_DOCS=1 writes what is missing."""
    found = _installed(db)
    if os.environ.get("UPDATE_DOCS"):
        _FILE.write_text(_written(found), encoding="utf-8")

    assert json.loads(_FILE.read_text(encoding="utf-8")) == found


def test_every_door_has_the_columns_that_a_producer_may_set(db: Db) -> None:
    """The inbox is as jobs, and `inserted`."""
    jobs, inbox = contract().doors["jobs"], contract().doors["inbox"]
    may = {name for name, column in jobs.items() if column.insertable}
    unique = column(db, "select count(*) from pg_index where indrelid = 'pgqueue.jobs'::regclass"
                        " and indisunique")  # fmt: skip

    assert may <= {name for name, column in inbox.items() if column.insertable}
    assert (inbox["payload"].type, inbox["inserted"].insertable) == ("text", False)
    assert len(contract().targets) == unique[0]


def test_a_door_is_what_the_catalogue_says() -> None:
    """The inbox has the columns that contract.json gives it, whatever jobs has."""
    data: dict[str, Any] = {"relations": [], "functions": [], "targets": [], "constraints": []}
    row = ["payload", "text", False, False, True]
    found = from_json({**data, "columns": [["jobs", *row], ["inbox", *row]]})

    assert list(found.doors["inbox"]) == ["payload"]
