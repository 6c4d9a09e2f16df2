"""
For the tests of applications: run one handler inline, drain a queue, look at what was enqueued.

    def test_a_bad_row_makes_the_import_partial():
        run = run_job(import_prices, {"file": "prices.csv"}, connection=connection)

        assert run.status == "partial"

    def test_an_order_is_confirmed(pgqueue_db, pgqueue_drain):
        place_order(pgqueue_db)
        assert_enqueued(pgqueue_db, "confirm_order", payload={"order": 1})

        assert [run.status for run in pgqueue_drain(load_app("shop.jobs"))] == ["succeeded"]

`run_job` needs no database. `drain` needs one with the schema, and uses its real functions. The
fixtures come with the installed package, see `pgqueue.pytest_plugin`.
"""

from __future__ import annotations

from pgqueue.testing.draining import drain, drain_async
from pgqueue.testing.enqueued import EnqueuedJob, assert_enqueued, enqueued, refute_enqueued
from pgqueue.testing.inline import JobRun, run_job, run_job_async

__all__ = [
    "EnqueuedJob",
    "JobRun",
    "assert_enqueued",
    "drain",
    "drain_async",
    "enqueued",
    "refute_enqueued",
    "run_job",
    "run_job_async",
]
