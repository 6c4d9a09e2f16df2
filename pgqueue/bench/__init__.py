"""
How fast is it here: workloads on a server of the user's choice, each beside its floor.

A case is measured in a database of its own, made for that one measurement. The cases of a workload
take turns, run after run, so that a machine whose speed drifts slows all of them alike; what counts
is the ratio to the floor of the same run.

    settings     what to measure and for how long
    stage        a fresh database with the schema, and what is known of the server
    filling      rows by several connections at once, for the cases that need many
    workloads/   the cases: enqueue, bulk, drain, latency, steady, snapshot, growth, features,
                 flow
    runner       takes turns, collects the figures
    report       medians, ratios, aims; saved keeps, markdown and plot show them
"""

from __future__ import annotations

from pgqueue.bench.model import Aim, Case, Figure, Unavailable
from pgqueue.bench.report import Report
from pgqueue.bench.runner import run_cases, seconds_of
from pgqueue.bench.settings import BenchSettings
from pgqueue.bench.workloads import WORKLOADS, cases_of

__all__ = [
    "WORKLOADS",
    "Aim",
    "BenchSettings",
    "Case",
    "Figure",
    "Report",
    "Unavailable",
    "cases_of",
    "run_cases",
    "seconds_of",
]
