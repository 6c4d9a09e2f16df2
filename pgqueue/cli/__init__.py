"""
The command line, `pgqueue`.

One module per group of commands. Each imports what it needs when it runs, so that `pgqueue --help`
stays quick and a part that does not import breaks only its own commands.
"""

from __future__ import annotations

from pgqueue.cli.main import main

__all__ = ["main"]
