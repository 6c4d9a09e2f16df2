"""
A set-based upsert function for a table: `pgqueue upsert`.

A handler that stores what it fetched calls it with a JSON array: one statement, exact counts of
what was created, updated and skipped, rows that are the same left alone, locks in one order.
The table is read from a database (`database`) or from DDL (`ddl`); `generate` fills in
`function.sql`.
"""

from __future__ import annotations

from pgqueue.upsert.database import table_in
from pgqueue.upsert.ddl import table_from
from pgqueue.upsert.generate import upsert_function
from pgqueue.upsert.table import Column, Table, names_of

__all__ = ["Column", "Table", "names_of", "table_from", "table_in", "upsert_function"]
