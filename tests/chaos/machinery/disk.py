"""A disk that is nearly full: a tmpfs of limited size, and ballast that fills it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

_COMMAND_SECONDS = 15.0
_BLOCK = 64 * 1024


class Disk:
    """
    One tmpfs, unmounted at the end. Needs root.

    Args:
        megabytes: Its size.

    Attributes:
        path: Where it is mounted.
    """

    def __init__(self, megabytes: int) -> None:
        self._megabytes = megabytes
        self.path = Path(tempfile.mkdtemp(prefix="pgqueue-disk-"))
        self._ballast = self.path / "ballast"

    @staticmethod
    def missing() -> str | None:
        """Why this machine cannot do it; None = it can."""
        if os.geteuid() != 0:
            return "mounting a small tmpfs needs root"
        with tempfile.TemporaryDirectory(prefix="pgqueue-disk-") as probe:
            done = _run("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", probe)
            if done.returncode == 0:
                _run("umount", probe)
                return None
        return f"no tmpfs can be mounted here: {done.stderr.strip()}"

    @property
    def free_bytes(self) -> int:
        """What is left."""
        found = os.statvfs(self.path)
        return found.f_bavail * found.f_frsize

    def fill(self) -> int:
        """Take all that is left; how many bytes."""
        taken = 0
        with self._ballast.open("ab", buffering=0) as ballast, contextlib.suppress(OSError):
            while (room := self.free_bytes) > 0:
                taken += ballast.write(b"\1" * min(room, _BLOCK))
        return taken

    def relieve(self) -> None:
        """Give it all back."""
        self._ballast.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        size = f"size={self._megabytes}m,mode=755"
        done = _run("mount", "-t", "tmpfs", "-o", size, "tmpfs", str(self.path))
        if done.returncode != 0:
            self.path.rmdir()
            raise OSError(f"mount: {done.stderr.strip()}")
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        done = _run("umount", "--lazy", str(self.path))
        if done.returncode == 0:
            self.path.rmdir()


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, capture_output=True, text=True, timeout=_COMMAND_SECONDS, check=False
    )
