"""
Demands of work and works: a producer and a consumer.

    pgqueue migrate --app workers.numbers
    python -m workers.numbers produce --count 10
    python -m workers.numbers consume --drain
    python -m workers.numbers search --since 2025-01-01

consumer.py   maps a demand to a row of numbers.works, computes it, notes what happened
producer.py   demands with random bounds, on a schedule
settings.py   what the environment says
__main__.py   both as commands
"""

from __future__ import annotations

from .consumer import work_demand
from .producer import produce_demands

__all__ = ["produce_demands", "work_demand"]
