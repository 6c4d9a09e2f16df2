"""Input made to wedge a queue or to slow it down."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.support.sqljobs import claim, column, insert, refused, value, worker

if TYPE_CHECKING:
    from tests.support.sqljobs import Db

# 12 bytes each as jsonb, 131,072 as text.
_BOMB = "jsonb_build_object('a', (select jsonb_agg(jsonb '1e131071') from generate_series(1, %s)))"


@pytest.mark.parametrize(
    ("numbers", "sqlstate", "constraint"),
    [(600, "23514", "jobs_payload_text_check"), (9000, "54000", None)],
)
def test_a_payload_that_prints_as_a_gigabyte_is_refused_at_the_door(
    db: Db, numbers: int, sqlstate: str, constraint: str | None
) -> None:
    """Every claim that came to it would fail, and its queue would stand still."""
    with refused(sqlstate, constraint=constraint):
        db.execute(f"insert into pgqueue.jobs (job_type, payload) select 't', {_BOMB}", (numbers,))


def test_headers_that_print_as_a_gigabyte_are_refused_at_the_door(db: Db) -> None:
    """64 kB of jsonb could print as 700 MB."""
    with refused("23514", constraint="jobs_headers_check"):
        db.execute(f"insert into pgqueue.jobs (job_type, headers) select 't', {_BOMB}", (100,))


def test_the_worst_payload_that_is_accepted_is_claimed(db: Db) -> None:
    """Below 2 kB of jsonb nothing is looked at more closely; it prints as 20 MB at most."""
    db.execute(f"insert into pgqueue.jobs (job_type, payload) select 't', {_BOMB}", (150,))
    db.execute("insert into pgqueue.jobs (job_type) values ('mate')")
    found = claim(db, worker(db))

    assert [job.job_type for job in found] == ["t", "mate"]
    assert 19_000_000 < len(found[0].payload) < 25_000_000


def test_a_statement_that_feeds_very_many_queues_takes_time_by_its_rows(db: Db) -> None:
    """Once a list of all queues was searched for each row: 9 s for 20,000 queues."""
    began = time.monotonic()
    db.execute(
        """insert into pgqueue.jobs (job_type, queue)
           select 't', 'queue ' || n from generate_series(1, 20000) as n"""
    )

    assert time.monotonic() - began < 5
    assert column(db, "select count(*) from pgqueue.ready") == [20000]


def test_an_id_of_another_tenant_is_refused_with_keys_too(db: Db) -> None:
    """23505 at once, not 40001, which means "try again", after a thousand rounds."""
    taken = insert(db, tenant_id="a")
    with refused("23505", constraint="jobs_pkey"):
        db.execute(
            "select pgqueue.enqueue('t', p_id => %s, p_unique_key => 'k', p_tenant_id => 'b')",
            (taken,),
        )

    assert value(db, "select count(*) from pgqueue.jobs") == 1
