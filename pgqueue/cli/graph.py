"""`pgqueue graph`: draw the jobs that depend on each other."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import click

from pgqueue import calls
from pgqueue.cli.base import Command
from pgqueue.cli.database import connected
from pgqueue.cli.output import emit, note
from pgqueue.cli.params import JOB_ID
from pgqueue.cli.terminal import clean

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from pgqueue.calls import WorkflowJob

# What Mermaid or its HTML would read as something else than text.
_ENTITIES = str.maketrans({char: f"#{ord(char)};" for char in '"#&<>`'})


@click.command(
    cls=Command,
    examples=(
        "pgqueue graph 0199c3a2-7d52-7000-8a3b-1f2e3d4c5b6a",
        "pgqueue graph 0199c3a2-7d52-7000-8a3b-1f2e3d4c5b6a --dot | dot -Tsvg > jobs.svg",
    ),
)
@click.argument("job_id", type=JOB_ID)
@click.option("--dot", is_flag=True, help="For Graphviz instead of Mermaid.")
@click.option(
    "--limit", type=click.IntRange(1, 10_000), default=1000, show_default=True, help="Of jobs."
)
def graph(job_id: UUID, *, dot: bool, limit: int) -> None:
    """
    Draw the jobs that are connected with a job by depends_on, as Mermaid text.

    A dotted arrow means that the job runs also when its parent fails. Exits with 3 if there is no
    such job.
    """
    with connected() as db:
        jobs = db.run(calls.workflow(job_id, limit))
    emit([dataclasses.asdict(job) for job in jobs], as_dot(jobs) if dot else as_mermaid(jobs))
    if len(jobs) == limit:
        note(f"There may be more than {limit} jobs: see --limit.")


def as_mermaid(jobs: Sequence[WorkflowJob]) -> str:
    """Draw jobs for Mermaid."""
    lines = ["graph TD"]
    for job in jobs:
        name = clean(job.job_type).translate(_ENTITIES)
        lines.append(f'    {_node(job.job_id)}["{name}<br>{job.status}"]')
    for parent, child, anyway in _edges(jobs):
        lines.append(f"    {_node(parent)} {'-.->' if anyway else '-->'} {_node(child)}")
    return "\n".join(lines)


def as_dot(jobs: Sequence[WorkflowJob]) -> str:
    """Draw jobs for Graphviz."""
    lines = ["digraph {", "    node [shape=box];"]
    for job in jobs:
        name = clean(job.job_type).replace("\\", "\\\\").replace('"', '\\"')
        lines.append(f'    {_node(job.job_id)} [label="{name}\\n{job.status}"];')
    for parent, child, anyway in _edges(jobs):
        style = " [style=dotted]" if anyway else ""
        lines.append(f"    {_node(parent)} -> {_node(child)}{style};")
    return "\n".join([*lines, "}"])


def _node(job_id: UUID) -> str:
    return f"j{job_id.hex}"


# Only between jobs that are shown: retention, a limit or another tenant may hide a parent.
def _edges(jobs: Sequence[WorkflowJob]) -> list[tuple[UUID, UUID, bool]]:
    shown = {job.job_id for job in jobs}
    return [
        (parent, job.job_id, job.on_parent_failure == "run")
        for job in jobs
        for parent in dict.fromkeys(job.depends_on or ())
        if parent in shown
    ]
