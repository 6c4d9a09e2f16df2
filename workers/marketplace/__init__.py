"""
Jobs for sale: customers order by API key, at priorities 0, 1 and 2, and pay for what succeeds.

    pgqueue migrate --app workers.marketplace    # and workers.metering, which keeps the money
    pgqueue worker --app workers.marketplace

documents.py   render_report: a table of figures, stored with the completion
figures.py     prime_search: numbers, in steps that can be cancelled
texts.py       text_statistics
sql/functions  orders.sql is what customers call; keys.sql and job_types.sql are the operator's
"""

from __future__ import annotations

from .documents import render_report
from .figures import prime_search
from .texts import text_statistics

__all__ = ["prime_search", "render_report", "text_statistics"]
