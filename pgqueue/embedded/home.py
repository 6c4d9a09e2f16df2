"""
The directory of one embedded server.

    <home>/            root's (0711) when root starts it, else the user's (0700)
        lock           held while a server is created, started or stopped
        settings.conf  written at each start, included by postgresql.conf
        server.log
        run/           the Unix socket, unless the path is too long for one
        pgdata/        appears by rename once initdb has succeeded
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pgqueue.embedded.errors import EmbeddedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgqueue.embedded.account import Account

SOCKET_PATH_BYTES_MAX = 103  # sun_path has 108 bytes on Linux, 104 on macOS, one for the final NUL
SOCKET_NAME = ".s.PGSQL.5432"
SHORT_PREFIX = "pgqueue-run-"
_CONTENTS = {"lock", "settings.conf", "server.log", "run", "pgdata"}
_LOCK_POLL_SECONDS = 0.05


def default_data_dir(version: int) -> Path:
    """
    Where a server that is kept lives: below $PGQUEUE_HOME, else the usual place for data.

    Root's is below /var/lib, as the server's user cannot enter root's own home.

    Args:
        version: The major version; each has a directory of its own.
    """
    configured = os.environ.get("PGQUEUE_HOME")
    if configured:
        base = Path(configured).absolute()
    elif os.geteuid() == 0:
        base = Path("/var/lib/pgqueue")
    else:
        data = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
        base = Path(data).expanduser() / "pgqueue"
    return base / f"embedded-{version}"


@dataclass(frozen=True, slots=True)
class Home:
    """The paths of one server, and the right owners for them."""

    path: Path
    account: Account

    @property
    def pgdata(self) -> Path:
        """PostgreSQL's data directory."""
        return self.path / "pgdata"

    @property
    def log(self) -> Path:
        """The server's log, appended at each start."""
        return self.path / "server.log"

    @property
    def settings(self) -> Path:
        """The settings of the last start."""
        return self.path / "settings.conf"

    @classmethod
    def temporary(cls, account: Account, parent: Path | None = None) -> Home:
        """
        A new directory with a short path.

        Args:
            account: The server's user.
            parent: Where; None for the place of temporary files.
        """
        made = Path(tempfile.mkdtemp(prefix="pgqueue-", dir=parent or _short_tmp()))
        home = cls(path=made, account=account)
        home.prepare()
        return home

    def prepare(self) -> None:
        """
        Make the directory, or check that an existing one is ours.

        Raises:
            EmbeddedError: It is somebody else's, holds other things, or is closed to the server.
        """
        try:
            self._make_parents()
            self.path.mkdir(mode=0o700, exist_ok=True)
            found = self.path.lstat()
            strangers = {entry.name for entry in self.path.iterdir()} - _CONTENTS
        except OSError as error:
            raise EmbeddedError(f"data directory {self.path}: {error.strerror}") from error
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            raise EmbeddedError(
                f"data directory {self.path} belongs to user id {found.st_uid}, not to us "
                f"({os.geteuid()}); choose another with PGQUEUE_HOME"
            )
        # Interrupted runs of initdb leave pgdata.new-*; anything else is not ours to touch.
        strangers = {name for name in strangers if not name.startswith("pgdata.new-")}
        if strangers:
            raise EmbeddedError(
                f"data directory {self.path} holds other things ({min(strangers)}); "
                "choose an empty one with PGQUEUE_HOME"
            )
        if self.account.other:
            self.path.chmod(0o711)
            if not self.account.can("-x", self.path):
                raise EmbeddedError(
                    f"user {self.account.name}, who runs the server for root, cannot enter "
                    f"{self.path}; choose another place with PGQUEUE_HOME"
                )

    def _make_parents(self) -> None:
        missing = [parent for parent in self.path.parents if not parent.exists()]
        for parent in reversed(missing):
            parent.mkdir(exist_ok=True)
            if self.account.other:
                parent.chmod(0o755)  # whatever the umask: the server's user must get through

    def owned_file(self, path: Path) -> None:
        """
        Create a file that the server's user may append to.

        Args:
            path: In this directory, which only we can write.
        """
        os.close(os.open(path, os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        self.account.owns(path)

    def owned_dir(self, path: Path) -> None:
        """
        Create a directory for the server's user alone.

        Args:
            path: In a directory that only we can write.
        """
        path.mkdir(mode=0o700, exist_ok=True)
        self.account.owns(path)

    def socket_dir(self) -> Path:
        """
        A directory for the socket that the server's user alone can enter, with a short enough path.

        Raises:
            EmbeddedError: Even the short directory's path is too long.
        """
        run = self.path / "run"
        if not fits(run):
            run = Path(tempfile.mkdtemp(prefix=SHORT_PREFIX, dir=_short_tmp()))
            self.account.owns(run)
            if not fits(run):
                run.rmdir()
                raise EmbeddedError(
                    f"{run} is too long for a Unix socket; set TMPDIR to a shorter path"
                )
            return run
        self.owned_dir(run)
        return run

    def forget_socket_dir(self, path: Path | None) -> None:
        """
        Remove a short socket directory of ours; one inside the home stays.

        Args:
            path: As postmaster.pid names it; may be anything.
        """
        if path is not None and path.name.startswith(SHORT_PREFIX):
            shutil.rmtree(path, ignore_errors=True)

    @contextmanager
    def locked(self, seconds: float) -> Iterator[None]:
        """
        Keep other processes from starting or stopping this server meanwhile.

        Args:
            seconds: How long to wait for another one that does.

        Raises:
            EmbeddedError: It did not end in time.
        """
        deadline = time.monotonic() + seconds
        lock = os.open(
            self.path / "lock", os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
        )
        try:
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise EmbeddedError(
                            f"another process has been starting or stopping {self.path} "
                            f"for {seconds:g} s"
                        ) from None
                    time.sleep(_LOCK_POLL_SECONDS)
            yield
        finally:
            os.close(lock)


def fits(directory: Path) -> bool:
    """
    Whether a socket in this directory has a path that the kernel accepts.

    Args:
        directory: Absolute.
    """
    return len(os.fsencode(directory / SOCKET_NAME)) <= SOCKET_PATH_BYTES_MAX


def _short_tmp() -> str:
    # TMPDIR can be long (macOS: about 50 bytes) or closed to the server's user.
    tmp = tempfile.gettempdir()
    if os.geteuid() != 0 and fits(Path(tmp) / (SHORT_PREFIX + "12345678") / "run"):
        return tmp
    return "/tmp" if os.access("/tmp", os.W_OK) else tmp  # noqa: S108  # only as a parent for mkdtemp
