"""What the READMEs state in tables is what the code has, and their links lead somewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import click
import pytest

from pgqueue import errors
from pgqueue.cli.main import cli
from tests.chaos import mutants
from tests.chaos.corruption import KINDS
from tests.chaos.flow_corruption import FLOW_KINDS
from tests.docs.blocks import between, document, readmes, table_rows
from tests.support.psql import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import psycopg

README = REPOSITORY / "README.md"
COLLECT_SECONDS = 90
PROMISE = (
    "A job whose insert committed is never lost.",
    "It runs at least once.",
    "It is finished at most once, and only by the attempt that owns it.",
    "What a handler writes through the transaction it is given happens exactly once.",
    (
        "Effects outside that transaction can repeat; they carry the job id and a fencing token"
        " so that the receiver can reject repeats."
    ),
    "Order is by priority, then arrival, among jobs that may run.",
)
_CODE = re.compile(r"`([^`]+)`")
_PATH = re.compile(r"(?:pgqueue|sql|tests|workers)/[\w./*-]+")


@pytest.fixture
def readme() -> str:
    """The text."""
    return README.read_text(encoding="utf-8")


def first_cells(readme: str, table: str) -> list[str]:
    """The code words of the first column of a table between markers."""
    return [_CODE.findall(row[0])[0] for row in table_rows(between(readme, table))]


def test_the_promise_is_stated_word_for_word(readme: str) -> None:
    """Whoever changes the promise changes this test, and must say so."""
    section = readme.partition("## What it guarantees")[2]
    quoted = [line[2:] for line in section.splitlines() if line.startswith("> ")]

    assert " ".join(PROMISE) == " ".join(quoted)


def test_each_sentence_of_the_promise_names_tests_that_exist(readme: str) -> None:
    """Pytest collects every test that the table names, and no sentence goes without."""
    rows = table_rows(between(readme, "promise"))
    named = {row[0]: _CODE.findall(row[1]) for row in rows}
    tests = sorted({test for one in named.values() for test in one})
    command = [sys.executable, "-m", "pytest", "--collect-only", "-qq", "-p", "no:randomly", *tests]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=COLLECT_SECONDS,
        check=False,
        cwd=REPOSITORY,
    )

    assert list(PROMISE) == list(named)
    assert [sentence for sentence, found in named.items() if not found] == []
    assert [test for test in tests if "::test_" not in test] == []
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_columns_of_jobs_are_listed_in_their_order(
    readme: str, db: psycopg.Connection[Any]
) -> None:
    """A producer finds every column that there is."""
    query = """
        select attname from pg_attribute
        where attrelid = 'pgqueue.jobs'::regclass and attnum > 0 and not attisdropped
        order by attnum
    """

    assert [row[0] for row in db.execute(query)] == first_cells(readme, "columns")


def test_every_view_is_listed(readme: str, db: psycopg.Connection[Any]) -> None:
    """An operator finds every view that there is."""
    query = "select 'pgqueue.' || viewname from pg_views where schemaname = 'pgqueue'"

    assert sorted(row[0] for row in db.execute(query)) == sorted(first_cells(readme, "views"))


def test_every_role_is_listed(readme: str) -> None:
    """The roles of sql/roles.sql, and no others."""
    script = (REPOSITORY / "sql" / "roles.sql").read_text(encoding="utf-8")
    created = re.findall(r"\('(pgqueue_\w+)', 'pgqueue: ", script)

    assert created == first_cells(readme, "roles")


def test_the_limits_are_constraints_that_exist(readme: str, db: psycopg.Connection[Any]) -> None:
    """Each named CHECK exists, and holds the numbers that its row states."""
    query = """
        select conname, pg_get_constraintdef(oid) from pg_constraint
        where connamespace = 'pgqueue'::regnamespace and contype = 'c'
    """
    definitions = dict(db.execute(query).fetchall()) | _limits_of_jobs(db)
    wrong = []
    for what, limit, constraint in table_rows(between(readme, "limits")):
        definition = definitions.get(constraint.strip("`"), "")
        wanted = [number.replace(",", "") for number in re.findall(r"\d[\d,]*", limit)]
        if "MiB" in limit:
            wanted = [str(int(wanted[0]) * 1024 * 1024)]
        elif "KiB" in limit:
            wanted = [str(int(wanted[0]) * 1024)]
        elif "hour" in limit or " ms " in limit:
            wanted = []  # intervals: the unit is part of the number
        if not definition or any(number not in definition for number in wanted):
            wrong.append((what, limit, definition))

    assert wrong == []


def test_every_check_of_jobs_is_among_the_limits(readme: str, db: psycopg.Connection[Any]) -> None:
    """A producer finds the name of whatever can refuse his row."""
    stated = {row[2].strip("`") for row in table_rows(between(readme, "limits"))}

    assert set(_limits_of_jobs(db)) - stated == set()


def _limits_of_jobs(db: psycopg.Connection[Any]) -> dict[str, str]:
    """The conditions in pgqueue.job_limit(), by the names of their refusals."""
    query = "select pg_get_functiondef('pgqueue.job_limit'::regproc)"
    ((source,),) = db.execute(query).fetchall()
    parts = re.split(r"THEN '(jobs_\w+)'", source)
    return dict(zip(parts[1::2], parts[::2], strict=False))


def test_every_sqlstate_is_listed_with_its_exception(readme: str) -> None:
    """The table is the tree of pgqueue.errors, as far as it has SQLSTATEs."""
    stated = {(row[0], _CODE.findall(row[1])[0]) for row in table_rows(between(readme, "errors"))}
    kinds = [getattr(errors, name) for name in errors.__all__ if name != "from_psycopg"]

    assert {(kind.sqlstate, kind.__name__) for kind in kinds if kind.sqlstate} == stated


def test_every_link_leads_somewhere() -> None:
    """To a file or folder of the checkout, and to a heading there."""
    wrong = []
    for path in readmes():
        for link in re.findall(r"\]\(([^)]+)\)", path.read_text(encoding="utf-8")):
            target, _, anchor = link.partition("#")
            found = (path.parent / target).resolve() if target else path
            if target.startswith("https://"):
                continue
            if not found.exists() or (anchor and anchor not in anchors(found)):
                wrong.append((document(path), link))

    assert wrong == []


def anchors(path: Path) -> set[str]:
    """GitHub's names of the headings: lower case, hyphens for spaces, no punctuation."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", line).lower().replace(" ", "-") for line in headings}


def test_every_path_that_is_named_exists() -> None:
    """Of our own folders, a test's name included; `*` stands for any name."""
    wrong = []
    for path in readmes():
        text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        for word in _CODE.findall(text):
            name, _, test = word.partition("::")
            if not _PATH.fullmatch(name):
                continue
            found = list(REPOSITORY.glob(name))
            sources = [one.read_text(encoding="utf-8") for one in found if test]
            if not found or (test and not any(f"def {test}(" in source for source in sources)):
                wrong.append((document(path), word))

    assert wrong == []


@pytest.mark.parametrize("path", [README, REPOSITORY / "workers" / "README.md"], ids=document)
def test_the_table_of_contents_names_every_heading(path: Path) -> None:
    """By its own words; `Operate` and `Enqueue` are the lines of their sections."""
    contents, rest = path.read_text(encoding="utf-8").split("\n## ", 1)
    text = re.sub(r"```.*?```", "", f"\n## {rest}", flags=re.DOTALL)
    headings = set(re.findall(r"^##+ (.+)$", text, re.MULTILINE))
    named = {one or other for one, other in re.findall(r"\[([^]]+)\]\(#|\*\*(\w+)\*\*:", contents)}

    assert headings - named == set()


def test_the_list_of_commands_is_the_programs_own(readme: str) -> None:
    """UPDATE_DOCS=1 writes it anew."""
    shown = between(readme, "commands")
    wanted = f"<!-- not run: written by a test -->\n```text\n{command_list()}```\n"
    if os.environ.get("UPDATE_DOCS") == "1" and shown != wanted:
        start, rest = readme.split("<!-- commands -->\n")
        end = rest.split("<!-- /commands -->\n")[1]
        README.write_text(
            f"{start}<!-- commands -->\n{wanted}<!-- /commands -->\n{end}", encoding="utf-8"
        )
        shown = wanted

    assert wanted == shown, "UPDATE_DOCS=1 rewrites it"


def test_the_ways_to_break_pgqueue_and_its_histories_are_counted() -> None:
    """Wherever a number of them is written: the READMEs, and the help of `make mutants`."""
    broken, corrupted = len(mutants.every()), len({**KINDS, **FLOW_KINDS})
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    text = "\n".join([makefile, *(path.read_text(encoding="utf-8") for path in readmes())])
    told = re.findall(r"(\d+) bugs built in|on purpose in (\d+) ways", text)

    assert [one or other for one, other in told] == [str(broken)] * 4
    assert re.findall(r"corrupted in (\d+) ways", text) == [str(corrupted)]


def test_every_folder_of_tests_is_explained() -> None:
    """Whoever looks for a test, or for a place for one, begins with that table."""
    path = REPOSITORY / "tests" / "README.md"
    rows = table_rows(path.read_text(encoding="utf-8"))
    told = [name for row in rows for name in _CODE.findall(row[0])]
    folders = [one.parent.name for one in path.parent.glob("*/*.py")]

    assert sorted(told) == sorted({*folders})


def command_list() -> str:
    """Every command with the first sentence of its help."""
    lines = list(_commands(cli, click.Context(cli, info_name="pgqueue")))
    width = max(len(usage) for usage, _ in lines)
    return "".join(f"{usage:<{width}}  {told}\n" for usage, told in lines)


def _commands(group: click.Group, context: click.Context) -> Iterator[tuple[str, str]]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is None or command.hidden:
            continue
        inner = click.Context(command, info_name=name, parent=context)
        if isinstance(command, click.Group):
            yield from _commands(command, inner)
            continue
        arguments = [
            param.make_metavar(inner)
            for param in command.params
            if isinstance(param, click.Argument)
        ]
        yield " ".join([inner.command_path, *arguments]), command.get_short_help_str(200)
