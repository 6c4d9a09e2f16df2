"""What the worker runs for the C# programs."""

from __future__ import annotations

from pgqueue import Registry

jobs = Registry("jobs of a .NET shop")


@jobs.job
def add(a: int, b: int) -> dict[str, int]:
    """Add two numbers."""
    return {"sum": a + b}
