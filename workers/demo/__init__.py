"""
The example application: what `pgqueue demo` runs, and what to copy for the first one of your own.

    pgqueue worker --app workers.demo

prices.py       a transactional import with progress, per-row errors, metrics and a follow-up job
price_file.py   what it reads: pure functions, tested without a queue
reminders.py    an async handler that asks for another attempt
spread.py       work for a CPU, in a process of its own
"""

from __future__ import annotations

# Importing an application must import the modules that declare its handlers. Relative, because the
# same package is installed under another name (see pyproject.toml).
from .prices import import_prices
from .reminders import send_reminder
from .spread import price_statistics

__all__ = ["import_prices", "price_statistics", "send_reminder"]
