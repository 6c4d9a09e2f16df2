"""
The jobs of a warehouse: files come in, reports go out, an API's stock is kept up with.

    pgqueue migrate --app workers.warehouse
    pgqueue worker --app workers.warehouse

importing.py   bulk_import: CSV and JSON Lines by COPY, a checkpoint with each chunk
syncing.py     sync_stock: the pages of an API, a checkpoint with each page
reports.py     export_report: a file that is there whole or not at all
checkpoint.py  where an import stands; refuses an attempt that was overtaken
sources.py     from where files may come, and what is refused before a row is read
kinds.py       what is in a file: columns, and what their values look like
rows.py        from lines to rows: pure functions, tested without a queue
settings.py    what the environment says

Every row belongs to a tenant, which is the job's: `tenant_id` of pgqueue.jobs, never the payload.
"""

from __future__ import annotations

# Importing an application must import the modules that declare its handlers.
from .importing import bulk_import
from .reports import export_report
from .syncing import sync_stock

__all__ = ["bulk_import", "export_report", "sync_stock"]
