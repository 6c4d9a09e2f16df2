"""
A clock for a server that jumps, by libfaketime.

The time of day only, as when an operator or NTP sets it: the monotonic clock runs on, as it does on
a real machine.
"""

from __future__ import annotations

from pathlib import Path

_PLACES = ("/usr/lib/*/faketime", "/usr/lib/faketime", "/usr/lib64/faketime", "/opt/*/lib/faketime")


def library() -> Path | None:
    """Where libfaketime is."""
    found = [
        path
        for place in _PLACES
        for path in sorted(Path("/").glob(f"{place[1:]}/libfaketime.so.1"))
    ]
    return found[0] if found else None


class Clock:
    """
    One clock, set by a file.

    Args:
        directory: For the file; readable by the server's user.
    """

    def __init__(self, directory: Path) -> None:
        self._file = directory / "clock"
        self.set(0)

    @staticmethod
    def missing() -> str | None:
        """Why this machine cannot do it; None = it can."""
        return None if library() else "not installed: libfaketime (apt-get install libfaketime)"

    @property
    def environment(self) -> dict[str, str]:
        """Of the process whose clock this is."""
        return {
            "LD_PRELOAD": str(library()),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }

    def set(self, seconds: float) -> None:
        """Be so far ahead of the true time, or behind it, from now on."""
        # Renamed, so that nobody reads half of it.
        written = self._file.with_name("clock.new")
        written.write_text(f"{seconds:+.1f}\n", encoding="ascii")
        written.chmod(0o644)
        written.rename(self._file)
