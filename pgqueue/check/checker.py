"""From a file to its findings."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from pgqueue.check.calls import calls_of, check_call
from pgqueue.check.contract import contract
from pgqueue.check.inserts import check_columns, check_insert
from pgqueue.check.languages import LANGUAGES
from pgqueue.check.lexing import statements
from pgqueue.check.model import PARAMETER, Finding, Problem, Source
from pgqueue.check.nodes import SCHEMA, offset_of, ours, text_of
from pgqueue.check.statement import prepared

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgqueue.check.contract import Contract
    from pgqueue.check.known import Known
    from pgqueue.check.statement import Statement

# On the line of a finding or on the one before it.
_IGNORED = re.compile(r"pgqueue-check:\s*ignore(?:\[([\w, -]*)\])?")
# How a program says that a parameter is jsonb, and how far behind the statement.
_JSONB = re.compile(r"NpgsqlDbType\.Jsonb|\bPGobject\b|\bTypes\.OTHER\b|\bJsonb\(")
_NEAR = 800
# What sqlglot reads as one opaque command, or not at all.
_COPY = re.compile(
    r"\s*copy\s+pgqueue\s*\.\s*\"?(\w+)\"?\s*(?:\(([^)]*)\))?\s*from\b", re.IGNORECASE
)
_NOTIFY = re.compile(r"\s*notify\s+\"?pgqueue\"?", re.IGNORECASE)
_CALL = re.compile(r"\s*call\s+pgqueue\s*\.\s*\"?(\w+)", re.IGNORECASE)
_NOT_OURS = re.compile(r"\s*(?:copy|notify|call|listen|execute|do)\b", re.IGNORECASE)
_WRITES = re.compile(
    r"\b(?:into|update|from|truncate|copy|table)\s+\"?pgqueue\"?\s*\.", re.IGNORECASE
)
# DELETE, UPDATE and state tables -> what to call instead.
_INSTEAD = {
    "jobs": "Call pgqueue.cancel(id), reschedule(id, time) or reprioritise(id, priority);"
    " enqueue(..., p_on_duplicate => 'replace') changes a waiting job's payload.",
    "queues": "Call pgqueue.pause_queue(queue) or resume_queue(queue).",
    "job_types": "Call pgqueue.set_job_type(job_type, ...).",
    "settings": "Call pgqueue.set_settings(...).",
    "workers": "Call pgqueue.drain_worker(id); workers register themselves.",
}
_OTHERWISE = "Jobs are moved by functions only: INSERT into pgqueue.jobs, then pgqueue.cancel(id)."


def check_source(source: Source, suffix: str, known: Known) -> list[Finding]:
    """
    Everything that is wrong in one file, in its order.

    Args:
        source: The file.
        suffix: Says the language; one of LANGUAGES.
        known: Job types, queues, handlers.
    """
    logging.getLogger("sqlglot").setLevel(logging.ERROR)  # it warns of what it reads as a command
    found: dict[tuple[int, int, str, str], Finding] = {}
    for fragment in LANGUAGES[suffix](source.text):
        for part in statements(fragment):
            statement = prepared(part)
            if statement is None:
                continue
            for problem in check_statement(statement, contract(), known):
                line, column = source.position(problem.offset)
                if not (_ignored(source, line, problem.rule) or _typed(source, problem)):
                    found[line, column, problem.rule, problem.message] = Finding(
                        source.path, line, column, problem.rule, problem.level,
                        problem.message, problem.fix,
                    )  # fmt: skip
    return [found[key] for key in sorted(found)]


def _ignored(source: Source, line: int, rule: str) -> bool:
    for number in (line, line - 1):
        said = _IGNORED.search(source.line(number))
        if said is not None and (not said[1] or rule in re.split(r"[,\s]+", said[1])):
            return True
    return False


def _typed(source: Source, problem: Problem) -> bool:
    """Whether the program sets the parameter's type: said between this statement and the next."""
    if problem.rule != "text-into-jsonb":
        return False
    after = source.text[problem.offset : problem.offset + _NEAR]
    return _JSONB.search(after.split("pgqueue.", 1)[0]) is not None


def check_statement(statement: Statement, known_sql: Contract, known: Known) -> Iterator[Problem]:
    """
    All rules on one statement.

    Args:
        statement: With $n for each placeholder.
        known_sql: Columns and functions.
        known: Job types, queues, handlers.
    """
    yield from _spliced(statement)
    if _NOT_OURS.match(statement.sql):
        yield from _command(statement, known_sql)
        return
    try:
        trees = [tree for tree in sqlglot.parse(statement.sql, read="postgres") if tree is not None]
    except SqlglotError as error:
        if _WRITES.search(statement.sql) and not statement.spliced:
            told = str(error).split("\n", 1)[0].rstrip(".")
            yield Problem(
                statement.offset(0), "unreadable", f"not checked: {told}",
                "Correct the statement, or simplify it.", level="warning",
            )  # fmt: skip
        return
    for tree in trees:
        yield from _tree(tree, statement, known_sql, known)


def _spliced(statement: Statement) -> Iterator[Problem]:
    for one in statement.spliced:
        quoted = one.quoted and one.text == PARAMETER
        what = "a parameter inside of quotes is no parameter" if quoted else (
            "a value is pasted into the SQL text"
        )  # fmt: skip
        yield Problem(
            one.offset, "interpolation", what,
            "Pass it as a parameter of the command; never inside of quotes.",
        )  # fmt: skip


def _command(statement: Statement, known_sql: Contract) -> Iterator[Problem]:
    at = statement.offset(0)
    if _NOTIFY.match(statement.sql):
        yield _notify(at)
    called = _CALL.match(statement.sql)
    if called is not None:
        yield Problem(
            statement.offset(called.start(1)), "function-arguments",
            f"pgqueue.{called[1]} is a function: CALL is for procedures (42809)",
            f"Write select pgqueue.{called[1]}(...); in Npgsql CommandType.Text.",
        )  # fmt: skip
    copied = _COPY.match(statement.sql)
    if copied is None:
        return
    relation, listed = copied[1].lower(), copied[2]
    place = statement.offset(copied.start(1))
    if relation not in known_sql.doors:
        yield from _write(relation, place, "COPY", known_sql)
    elif listed is None:
        yield Problem(
            place, "no-column-list", f"COPY into pgqueue.{relation} without a column list",
            f"Name the columns: copy pgqueue.{relation} (job_type, payload) from stdin.",
        )  # fmt: skip
    else:
        named = [
            (m[0].strip('"').lower(), statement.offset(copied.start(2) + m.start()))
            for m in re.finditer(r"\"?\w+\"?", listed)
        ]
        yield from check_columns(named, relation, known_sql.doors[relation], place)


def _tree(
    tree: exp.Expr, statement: Statement, known_sql: Contract, known: Known
) -> Iterator[Problem]:
    written: set[int] = set()
    for node in tree.find_all(exp.Insert, exp.Update, exp.Delete, exp.Merge, exp.TruncateTable):
        for table in _targets(node):
            relation = ours(table)
            if relation is None:
                continue
            written.add(id(table))
            if isinstance(node, exp.Insert) and relation in known_sql.doors:
                yield from check_insert(node, statement, known_sql, known)
            else:
                verb = "TRUNCATE" if isinstance(node, exp.TruncateTable) else node.key.upper()
                yield from _write(relation, offset_of(table, statement), verb, known_sql)
    for table in tree.find_all(exp.Table):
        relation = ours(table)
        if relation is not None and id(table) not in written:
            yield from _exists(relation, offset_of(table.this, statement), known_sql)
    for call in calls_of(tree):
        yield from check_call(call, statement, known_sql, known)
    for call in tree.find_all(exp.Anonymous):
        if call.name.lower() == "pg_notify" and call.expressions:
            channel = text_of(call.expressions[0])
            if channel == SCHEMA:
                yield _notify(offset_of(call, statement))


def _targets(node: exp.Expr) -> list[exp.Expr]:
    if isinstance(node, exp.TruncateTable):
        return list(node.expressions)
    target = node.this
    return [target.this if isinstance(target, exp.Schema) else target]


def _write(relation: str, at: int, verb: str, known_sql: Contract) -> Iterator[Problem]:
    if relation not in known_sql.relations:
        yield from _exists(relation, at, known_sql)
        return
    yield Problem(
        at, "function-owned", f"{verb} of pgqueue.{relation}, which functions own",
        _INSTEAD.get(relation, _OTHERWISE),
    )  # fmt: skip


def _exists(relation: str, at: int, known_sql: Contract) -> Iterator[Problem]:
    if relation not in known_sql.relations:
        fix = r"\dv pgqueue.* and \dt pgqueue.* list them; names are lower-case, "
        yield Problem(
            at, "unknown-relation", f"pgqueue has no table or view {relation!r}",
            f"{fix}jobs and inbox take INSERTs.",
        )  # fmt: skip


def _notify(at: int) -> Problem:
    return Problem(
        at, "hand-notify", "NOTIFY on the channel pgqueue by hand",
        "Leave it out: the INSERT rings when a worker sleeps.",
    )  # fmt: skip
