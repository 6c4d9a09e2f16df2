"""
`pgqueue new`: an application to begin with.

files/ is what it writes. In paths APP is the application's name and `.tmpl` is dropped; in texts
$app is the name. What comes out passes its own tests, ruff and mypy as it is.
"""

from __future__ import annotations

from pgqueue.scaffold.names import problem_of
from pgqueue.scaffold.write import write_application

__all__ = ["problem_of", "write_application"]
