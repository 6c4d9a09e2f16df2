"""
The job service of a .NET application: it inserts jobs, these handlers do the work in Python.

    pgqueue migrate --app workers.engine
    pgqueue worker --app workers.engine --callbacks

orders.py      create_orders: validate, price, store; exactly once
order_form.py  what an order must look like: pure functions, tested without a queue
assets.py      calculate_asset_values: what every asset is worth on a day
pricing.py     the pricing API that both ask
settings.py    what the environment says

Both handlers are transactional: their rows, the entities that they created, their metrics and the
completion commit together. A failing attempt leaves nothing behind.
"""

from __future__ import annotations

# Importing an application must import the modules that declare its handlers.
from .assets import calculate_asset_values
from .orders import create_orders

__all__ = ["calculate_asset_values", "create_orders"]
