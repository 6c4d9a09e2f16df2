"""
What a process saw, one JSON object per line.

    {"t": monotonic_ns, "p": "w3:812", "f": "complete", "ty": "ok", "job": "...", "token": 17}

`ty` is invoke, ok, fail or info. info: the reply was lost, it may have happened or not. On one
machine CLOCK_MONOTONIC is the same for all processes: merging needs no synchronised clocks.
"""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Event = dict[str, Any]


class Recorder:
    """
    Appends events to this process's own file; every line is in the kernel before the next call.

    Args:
        directory: Of the arena.
        name: Who speaks, for example `w3`.
    """

    def __init__(self, directory: Path, name: str) -> None:
        self.name = f"{name}:{os.getpid()}"
        # O_APPEND and one write per line: a process that is killed leaves whole lines.
        path = directory / f"{name}-{os.getpid()}.jsonl"
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)

    def __call__(self, f: str, ty: str, **more: Any) -> None:
        """
        Note one event.

        Args:
            f: What: enqueue, claim, complete, heartbeat, nemesis, ...
            ty: invoke, ok, fail or info.
            more: Ids and figures; anything that is no JSON becomes text.
        """
        event = {"t": time.monotonic_ns(), "p": self.name, "f": f, "ty": ty, **more}
        os.write(self._fd, json.dumps(event, default=str).encode() + b"\n")

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)


def events_of(directory: Path) -> list[Event]:
    """All events of all processes, by time."""
    found = [event for path in sorted(directory.glob("*.jsonl")) for event in _lines(path)]
    found.sort(key=lambda event: event["t"])
    return found


def _lines(path: Path) -> Iterator[Event]:
    with path.open("rb") as lines:
        for line in lines:
            if line.endswith(b"\n"):  # else the process died in the middle of it
                yield json.loads(line)
