"""
`pgqueue demo`: a server, the schema, a worker, jobs by INSERT, and what the views show.

Nothing is left behind: the server is temporary, or, where the environment names one, a database of
the demo's own is created there and dropped at the end. The application is workers/demo, run by a
real worker process; it is named by its module and never imported here.
"""

from __future__ import annotations

from pgqueue.demo.tour import run

__all__ = ["run"]
