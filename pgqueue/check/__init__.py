"""
A static check of the SQL by which producers use pgqueue.

    file -> languages: its string literals, each character with its place
         -> lexing: statements, also those inside of $$ bodies
         -> statement: every driver's placeholders become $n
         -> sqlglot (postgres) -> inserts, calls, checker: problems -> findings

It knows what the schema knows (`contract.json`, made from the catalogue) and, if told, the job
types of an application or a database. It runs nothing of what it reads; `--app` imports handlers.
"""

from __future__ import annotations

from pgqueue.check.checker import check_source
from pgqueue.check.files import check_paths
from pgqueue.check.known import Known, known_of
from pgqueue.check.model import Finding, Source
from pgqueue.check.rules import RULES

__all__ = ["RULES", "Finding", "Known", "Source", "check_paths", "check_source", "known_of"]
