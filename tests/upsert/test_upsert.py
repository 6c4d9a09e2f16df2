"""The function that `pgqueue upsert` writes, against results computed by hand."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from tests.support.cli import Cli
from tests.support.psql import REPOSITORY
from tests.support.sqljobs import refused, row, value
from tests.support.wait import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Connect
    from tests.support.sqljobs import Db

_STOCK = """
create schema shop;
create table shop.stock (
    id bigint generated always as identity primary key,
    depot text not null,
    sku text not null,
    amount numeric(12, 2) not null,
    note text,
    tags text[] default '{}',
    raw json,
    place point,
    total numeric generated always as (amount * 2) stored,
    created_at timestamptz not null default now(),
    updated_at timestamptz,
    constraint stock_key unique (depot, sku)
);
create unique index stock_partial on shop.stock (sku) where note = 'never';
create unique index stock_expression on shop.stock (lower(note), id);
"""


@pytest.fixture
def stock(db: Db) -> Db:
    """A database with a table of most kinds of columns."""
    db.execute(_STOCK)
    return db


def _write(dsn: str, *words: str) -> str:
    return Cli(dsn).text("upsert", *words)


def _item(depot: str = "a", sku: str = "1", amount: object = 1, **more: Any) -> dict[str, Any]:
    empty = {"note": None, "tags": None, "raw": None, "place": None}
    return {"depot": depot, "sku": sku, "amount": amount, **empty, **more}


def _store(db: Db, rows: object, function: str = "shop.upsert_stock") -> tuple[int, int, int]:
    found = row(db, f"select created, updated, skipped from {function}(%s)", json.dumps(rows))
    return (found[0], found[1], found[2])


@pytest.fixture
def upsert(stock: Db, dsn: str) -> Db:
    """The table and its function."""
    stock.execute(_write(dsn, "shop.stock", "--key", "depot,sku", "--touch", "updated_at").encode())
    return stock


def test_each_row_is_created_updated_or_skipped_and_counted(upsert: Db) -> None:
    """Two new; then one of them changed, one not, one new; then nothing changes."""
    first = _store(upsert, [_item(sku="1"), _item(sku="2", note="x", raw={"b": 1, "a": 2})])
    second = [_item(sku="1", amount=5), _item(sku="2", note="x", raw={"b": 1, "a": 2}), _item("b")]
    again = _store(upsert, second), _store(upsert, second)
    stored = upsert.execute(
        "select depot, sku, amount::float, note, total::float, updated_at is not null"
        " from shop.stock order by 1, 2"
    ).fetchall()

    assert first == (2, 0, 0)
    assert again == ((1, 1, 1), (0, 0, 3))
    assert stored == [
        ("a", "1", 5.0, None, 10.0, True),
        ("a", "2", 1.0, "x", 2.0, False),
        ("b", "1", 1.0, None, 2.0, False),
    ]


def test_a_row_that_is_the_same_is_not_written(upsert: Db) -> None:
    """No new version: its ctid stays."""
    _store(upsert, [_item(tags=["x"], place="(1,2)")])
    before = value(upsert, "select ctid::text || xmin from shop.stock")
    counts = _store(upsert, [_item(amount="1.00", tags=["x"], place="(1,2)")])

    assert counts == (0, 0, 1)
    assert value(upsert, "select ctid::text || xmin from shop.stock") == before


@pytest.mark.parametrize(
    ("column", "one", "other"),
    [
        ("note", None, "x"),
        ("note", "x", None),
        ("raw", {"a": 1}, {"a": 2}),
        ("place", "(1,2)", "(1,3)"),
        ("tags", ["a"], ["a", None]),
        ("amount", 1, 2),
    ],
)
def test_every_kind_of_difference_is_an_update(
    upsert: Db, column: str, one: Any, other: Any
) -> None:
    """NULL to value, value to NULL, and types that have no equality."""
    _store(upsert, [_item(**{column: one})])

    assert _store(upsert, [_item(**{column: other})]) == (0, 1, 0)
    assert _store(upsert, [_item(**{column: other})]) == (0, 0, 1)


def test_an_update_is_counted_as_one_while_somebody_holds_the_row(
    upsert: Db, connect: Connect
) -> None:
    """FOR KEY SHARE, as a foreign key's check takes it: the row's xmax is not ours alone."""
    _store(upsert, [_item()])
    other = connect(autocommit=False)
    other.execute("select from shop.stock for key share")
    counts = _store(upsert, [_item(amount=2), _item(sku="2")])
    other.rollback()

    assert counts == (1, 1, 0)


@pytest.mark.parametrize(
    ("rows", "sqlstate", "told"),
    [
        ({}, "22023", "is not a JSON array"),
        (None, "22023", "is not a JSON array"),
        ([_item(), 1], "22023", "row 2 is not an object"),
        ([_item(), {"depot": "a"}], "22023", "row 2 lacks the member sku"),
        ([{**_item(), "Oops": 1}], "22023", 'row 1 has an unknown member "Oops"'),
        ([_item(), _item(sku=None)], "22004", "row 2 has NULL in its key"),  # type: ignore[arg-type]
        ([_item("b"), _item(), _item(amount=2)], "21000", "rows 2 and 3 have the same key"),
        ([_item(amount="x")], "22P02", "invalid input syntax"),
    ],
)
def test_what_makes_no_sense_is_refused_and_nothing_stored(
    upsert: Db, rows: object, sqlstate: str, told: str
) -> None:
    """The message names the row."""
    with pytest.raises(psycopg.Error, match=told) as caught:
        _store(upsert, rows)

    assert caught.value.sqlstate == sqlstate
    assert value(upsert, "select count(*) from shop.stock") == 0


def test_no_rows_are_no_work(upsert: Db) -> None:
    """An empty array."""
    assert _store(upsert, []) == (0, 0, 0)


def test_of_duplicates_the_last_wins_if_asked_for(stock: Db, dsn: str) -> None:
    """The others count as skipped: the three counts add up to the rows given."""
    stock.execute(
        _write(dsn, "shop.stock", "--key", "sku,depot", "--last-wins", "--touch", "updated_at")
        .encode()
    )  # fmt: skip
    counts = _store(stock, [_item(amount=1), _item("b"), _item(amount=2), _item(amount=3)])

    assert counts == (2, 0, 2)
    assert value(stock, "select amount::int from shop.stock where depot = 'a'") == 3


def test_only_the_named_columns_are_updated(stock: Db, dsn: str) -> None:
    """The others are for new rows; those that a function fills in are left to it."""
    stock.execute(_write(dsn, "shop.stock", "--key", "depot,sku", "--update", "note").encode())
    given = _item(note="x", updated_at=None)
    created = _store(stock, [given])
    same = _store(stock, [{**given, "amount": 9}])
    updated = _store(stock, [{**given, "amount": 9, "note": "y"}])

    assert (created, same, updated) == ((1, 0, 0), (0, 0, 1), (0, 1, 0))
    assert row(stock, "select amount::int, note from shop.stock") == (1, "y")


@pytest.mark.parametrize("last_wins", [False, True])
def test_two_callers_in_opposite_order_do_not_deadlock(
    stock: Db, dsn: str, connect: Connect, *, last_wins: bool
) -> None:
    """500 keys forwards and backwards at once, 20 times; each row is created once."""
    flag = ["--last-wins"] if last_wins else []
    stock.execute(
        _write(dsn, "shop.stock", "--key", "depot,sku", "--touch", "updated_at", *flag).encode()
    )
    forwards = [_item(sku=str(n)) for n in range(500)]
    for round_ in range(20):
        results: list[tuple[int, int, int] | BaseException] = []
        depot = [{**item, "depot": f"d{round_}"} for item in forwards]
        start = threading.Barrier(2)

        def call(rows: list[Any], results: Any = results, start: Any = start) -> None:
            conn = connect()
            start.wait(10)
            try:
                results.append(_store(conn, rows))
            except BaseException as error:
                results.append(error)

        threads = [threading.Thread(target=call, args=(rows,)) for rows in (depot, depot[::-1])]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)

        assert sorted(map(repr, results)) == ["(0, 0, 500)", "(500, 0, 0)"]


def test_a_caller_waits_for_another_and_counts_what_it_finds(upsert: Db, connect: Connect) -> None:
    """The other's row appears while this call runs: updated, not created."""
    holding, waiting = connect(autocommit=False), connect()
    _store(holding, [_item(amount=1)])
    results: list[tuple[int, int, int]] = []
    thread = threading.Thread(target=lambda: results.append(_store(waiting, [_item(amount=2)])))
    thread.start()
    query = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and pid = %s"
    eventually(lambda: value(upsert, query, waiting.info.backend_pid), what="it waits")
    holding.commit()
    thread.join(20)

    assert results == [(0, 1, 0)]


_ODD = 'Odd "Name"; $upsert$ %s'


@pytest.mark.parametrize("from_ddl", [False, True])
def test_every_identifier_is_quoted(db: Db, dsn: str, tmp_path: Path, *, from_ddl: bool) -> None:
    """Capitals, quotes, keywords, percent signs, dollars, names of our own variables."""
    ddl = """create schema "Sch ema";
        create table "Sch ema"."Odd ""Name""; $upsert$ %s" (
            "select" text not null, "a'b\\" text not null, created text, p_rows text, v_row text,
            t text, "Größe" integer, n integer, item jsonb, unique ("select", "a'b\\"))"""
    db.execute(ddl.encode())
    file = tmp_path / "tables.sql"
    file.write_text(ddl, encoding="utf-8")
    where = ["--schema", str(file)] if from_ddl else []
    name = _ODD.replace('"', '""')
    text = _write(dsn, f'"Sch ema"."{name}"', "--key", '"select",a\'b\\', *where)
    db.execute(text.encode())
    given = {"select": "1", "a'b\\": "2", "created": "c", "p_rows": "p", "v_row": "v", "t": "t",
             "Größe": 1, "n": 2, "item": {"x": 1}}  # fmt: skip
    call = ('select created, updated, skipped from "Sch ema"."upsert_' + name + '"(%s)').replace(
        '%s"(', '%%s"('
    )
    counts = [
        db.execute(call, (json.dumps([{**given, "Größe": n}]),)).fetchall()[0] for n in (1, 2, 2)
    ]

    assert counts == [(1, 0, 0), (0, 1, 0), (0, 0, 1)]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("shop.nothing", "--key", "a"), "there is no table"),
        (("shop.stock", "--key", "sku"), "no unique index"),
        (("shop.stock", "--key", "note"), "no unique index"),
        (("shop.stock", "--key", "depot,sku", "--update", "oops"), "no column oops"),
        (("shop.stock", "--key", "depot,sku", "--update", "total"), "generated"),
        (("shop.stock", "--key", "id"), "generated"),
        (("shop.stock", "--key", "depot,sku", "--update", "sku"), "two roles"),
        (("shop.stock", "--key", "depot,,sku"), "no list of names"),
        (("shop.stock", "--key", "depot,sku", "--name", "x" * 64), "longer than 63 bytes"),
        (("pgqueue.job_status", "--key", "id"), "is a view"),
        (("shop.parted", "--key", "id"), "partitioned"),
        (('"unfinished', "--key", "id"), "unfinished"),
        (("shop.later", "--key", "id"), "no unique index"),
    ],
)
def test_what_cannot_be_written_is_refused_with_words(
    stock: Db, dsn: str, words: tuple[str, ...], told: str
) -> None:
    """A usage error, before anything is created."""
    stock.execute("create table shop.parted (id int primary key) partition by list (id)")
    stock.execute("create table shop.later (id int unique deferrable)")
    result = Cli(dsn)("upsert", *words)

    assert result.exit_code == 2
    assert told in result.stderr


def test_ddl_and_database_give_the_same_function(stock: Db, dsn: str, tmp_path: Path) -> None:
    """But for how types are spelled."""
    file = tmp_path / "tables.sql"
    file.write_text(_STOCK, encoding="utf-8")
    words = ("shop.stock", "--key", "depot,sku", "--touch", "updated_at")
    from_database = _write(dsn, *words)
    from_ddl = _write("", *words, "--schema", str(file))

    assert from_ddl.replace("decimal(12, 2)", "numeric(12,2)") == from_database


def test_the_demos_function_is_what_is_generated() -> None:
    """workers/demo holds it beside the table that it is made from."""
    folder = REPOSITORY / "workers" / "demo" / "sql"
    table, function = folder / "0001_prices.sql", folder / "functions" / "upsert_prices.sql"
    words = ("demo.prices", "--key", "sku", "--touch", "updated_at", "--schema", str(table))

    assert function.read_text(encoding="utf-8") == _write("", *words)


def test_types_of_other_schemas_and_collations_are_kept(db: Db, dsn: str) -> None:
    """Enums, domains, arrays of them, a collation of the key's own."""
    db.execute(
        """create schema shop;
           create type shop.mood as enum ('ok', 'sad');
           create domain shop.price as numeric(8, 2) check (value >= 0);
           create table shop.x (k text collate "C" primary key, m shop.mood,
               ms shop.mood[], p shop.price, c varchar(3), d double precision, h int4range)"""
    )
    text = _write(dsn, "shop.x", "--key", "k")
    db.execute(text.encode())
    item = {"k": "A", "m": "ok", "ms": ["ok", "sad"], "p": 1, "c": "abc", "d": 0.5, "h": "[1,2)"}

    assert '"k" text collate pg_catalog."C"' in text
    assert _store(db, [item], "shop.upsert_x") == (1, 0, 0)
    assert _store(db, [item, {**item, "k": "a"}], "shop.upsert_x") == (1, 0, 1)
    assert _store(db, [{**item, "m": "sad"}], "shop.upsert_x") == (0, 1, 0)
    with refused("23514"):
        _store(db, [{**item, "p": -1}], "shop.upsert_x")


def test_a_table_that_is_all_key_is_only_inserted_into(db: Db, dsn: str) -> None:
    """DO NOTHING: what is there is skipped."""
    db.execute("create table public.pairs (a int, b int, primary key (a, b))")
    db.execute(_write(dsn, "public.pairs", "--key", "a,b").encode())
    pairs = [{"a": 1, "b": n} for n in range(3)]

    assert _store(db, pairs[:2], "public.upsert_pairs") == (2, 0, 0)
    assert _store(db, pairs, "public.upsert_pairs") == (1, 0, 2)


def test_the_function_is_for_nobody_until_granted_and_has_a_pinned_path(upsert: Db) -> None:
    """As every function of ours."""
    found = row(
        upsert,
        "select proconfig, prosecdef, has_function_privilege('public', oid, 'execute')"
        " from pg_proc where proname = 'upsert_stock'",
    )

    assert found == (["search_path=pg_catalog, pg_temp"], False, False)
