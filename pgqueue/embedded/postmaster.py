"""What postmaster.pid says about a running server, and whether it is still true."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_SOCKET_DIR_LINE = 4
_STATUS_LINE = 7
_NO_PROCESS = 2**31 - 2  # above every pid_max


@dataclass(frozen=True, slots=True)
class Postmaster:
    """A server that runs."""

    pid: int
    socket_dir: Path | None
    ready: bool


def postmaster_of(pgdata: Path) -> Postmaster | None:
    """
    The server that runs on this data directory; None if none does, whatever a stale file says.

    Args:
        pgdata: The data directory.
    """
    noted = read_pid_file(pgdata)
    return noted if noted is not None and _is_server_of(noted.pid, pgdata) else None


def read_pid_file(pgdata: Path) -> Postmaster | None:
    """
    What the file says, true or not; None if there is none or it is not complete.

    Args:
        pgdata: The data directory.
    """
    try:
        lines = (pgdata / "postmaster.pid").read_text(errors="replace").split("\n")
        pid = int(lines[0])
    except (OSError, ValueError):
        return None
    lines += [""] * (_STATUS_LINE + 1 - len(lines))
    where = lines[_SOCKET_DIR_LINE].strip()
    return Postmaster(
        pid=abs(pid),
        socket_dir=Path(where) if where else None,
        ready=lines[_STATUS_LINE].strip() == "ready",
    )


def disown_pid_file(pgdata: Path) -> None:
    """
    Put a number that no process has into the file of a dead server.

    PostgreSQL refuses to start while the number is that of a live process, be it a stranger or
    a zombie that nobody reaps. Removing the file would be wrong: its shared memory line is
    how a new server notices that children of the dead one still write.

    Args:
        pgdata: The data directory; no server runs on it, and the caller holds the lock.
    """
    path = pgdata / "postmaster.pid"
    # The server's user owns the directory: root must not follow a link there.
    with os.fdopen(os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC), "r+b") as file:
        _, _, rest = file.read().partition(b"\n")
        file.seek(0)
        file.truncate()
        file.write(b"%d\n" % _NO_PROCESS + rest)


def _is_server_of(pid: int, pgdata: Path) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it lives, and is another user's
    proc = Path("/proc", str(pid))
    if not Path("/proc/self/cmdline").exists():
        return True  # no /proc (macOS): the number is all we have
    try:
        # Since a crash the number may be another process's. A zombie has an empty command line.
        return os.fsencode(pgdata) in (proc / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
