"""A worker process that records what it does: `python -m tests.chaos.worker SPEC`."""

from __future__ import annotations

import os
from importlib import import_module

from pgqueue.worker import exchange
from pgqueue.worker.__main__ import main
from tests.chaos import witness

if __name__ == "__main__":
    witness.install()
    # Connections seldom hold for long here: claims that a crash can take back must come about.
    exchange.FLUSHED_SECONDS = 0.2
    mutant = os.environ.get("CHAOS_MUTANT")
    if mutant:
        import_module(f"tests.chaos.mutants.{mutant}").apply()
    main()
