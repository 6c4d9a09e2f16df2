"""Jobs that wait for jobs, from Python and from the command line."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import pytest

from pgqueue import Client, InvalidArgument, new_job
from pgqueue.calls import WorkflowJob
from pgqueue.cli.graph import as_dot, as_mermaid
from tests.support.cli import Cli
from tests.support.sqljobs import insert, row

if TYPE_CHECKING:
    import psycopg

    Db = psycopg.Connection[Any]


def test_new_jobs_stand_for_their_ids(db: Db) -> None:
    """Children may come before their parents in the call; ids of other jobs go beside them."""
    there = insert(db)
    parent = new_job("parent")
    child = new_job("child", depends_on=[parent, there], on_parent_failure="run")
    answers = Client(db).enqueue_many([child, parent])
    found = row(
        db,
        "select depends_on, on_parent_failure from pgqueue.jobs where id = %s",
        answers[0].id,
    )

    assert found == ([answers[1].id, there], "run")


def test_one_job_depends_on_ids(db: Db) -> None:
    """`enqueue` takes them as well."""
    client = Client(db)
    child = client.enqueue("child", depends_on=[client.enqueue("parent")])

    assert client.status(child).status == "blocked"


def test_a_job_of_another_call_has_no_name(db: Db) -> None:
    """A NewJob is known in its own call only; the error says which job is meant."""
    client = Client(db)
    stranger = new_job("parent")
    with pytest.raises(InvalidArgument, match="job 1: depends_on holds a NewJob"):
        client.enqueue_many([new_job("child", depends_on=[stranger])])

    with pytest.raises(InvalidArgument, match="takes job ids"):
        client.enqueue("child", depends_on=[stranger])
    with pytest.raises(InvalidArgument, match="does not exist"):
        client.enqueue("child", depends_on=[uuid.UUID(int=1)])


def test_graph_prints_mermaid_dot_and_json(db: Db, dsn: str) -> None:
    """The same from any job of the workflow."""
    cli = Cli(dsn)
    parent = insert(db, "fetch")
    child = insert(db, "merge", depends_on=(parent,))
    insert(db, "unrelated")

    assert cli.text("graph", str(child)).splitlines() == [
        "graph TD",
        f'    j{parent.hex}["fetch<br>queued"]',
        f'    j{child.hex}["merge<br>blocked"]',
        f"    j{parent.hex} --> j{child.hex}",
    ]
    assert f"    j{parent.hex} -> j{child.hex};" in cli.text("graph", str(parent), "--dot")
    assert [one["status"] for one in cli.data("graph", str(parent))] == ["queued", "blocked"]


def test_enqueue_takes_parents_on_the_command_line(db: Db, dsn: str) -> None:
    """The option may be repeated."""
    cli = Cli(dsn)
    first, second = insert(db), insert(db)
    options = ("--depends-on", first, "--depends-on", second, "--on-parent-failure", "run")
    child = cli.text("enqueue", "child", *options).strip()
    query = "select depends_on, on_parent_failure from pgqueue.jobs where id = %s"

    assert row(db, query, child) == ([first, second], "run")


def test_names_cannot_leave_their_label() -> None:
    """A job type is any text: quotes, tags and line breaks stay text in the drawing."""
    job = WorkflowJob(uuid.UUID(int=1), 'a"]<b>\n\\', "queued", None, None)

    assert 'label="a\\"]<b> \\\\\\nqueued"' in as_dot([job])
    assert '["a#34;]#60;b#62; \\<br>queued"]' in as_mermaid([job])
