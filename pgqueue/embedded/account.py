"""Who the server runs as. PostgreSQL refuses root, so root hands the server to another user."""

from __future__ import annotations

import os
import pwd
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pgqueue.embedded.errors import EmbeddedError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SERVER_USERS = ("postgres", "nobody")  # in order of preference
_TEST_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Account:
    """The user that owns the server process and its data."""

    name: str
    uid: int
    gid: int
    other: bool  # not the user that we are: we are root

    def spawn_args(self) -> dict[str, Any]:
        """Arguments for `subprocess` that start a program as this user."""
        if not self.other:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def environment(self) -> dict[str, str]:
        """A small environment: the caller's libpq variables and locale do not reach the server."""
        keep = {name: os.environ[name] for name in ("PATH", "TMPDIR") if name in os.environ}
        return {"PATH": os.defpath} | keep | {"LC_ALL": "C", "TZ": "UTC", "HOME": "/"}

    def owns(self, path: Path) -> None:
        """
        Hand a file or directory that we have just made to this user.

        Args:
            path: Made by us, in a directory that nobody else can write.
        """
        if self.other:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)

    def can(self, test: str, path: Path) -> bool:
        """
        Ask the kernel, as this user, whether `test` holds of a path.

        Args:
            test: An operator of test(1): `-r`, `-w` or `-x`.
            path: Absolute.
        """
        done = run(["/bin/sh", "-c", f'test {test} "$1"', "sh", path], self, _TEST_SECONDS)
        return done.returncode == 0


def server_account(pgdata: Path | None = None) -> Account:
    """
    The user for the server: ourselves, or for root `postgres`, else `nobody`.

    Args:
        pgdata: As root, the owner of an existing data directory comes first.

    Raises:
        EmbeddedError: We are root and neither exists.
    """
    uid = os.geteuid()
    if uid != 0:
        return Account(name=_name_of(uid), uid=uid, gid=os.getegid(), other=False)
    if pgdata is not None and pgdata.is_dir():
        found = pgdata.lstat()
        if found.st_uid != 0:
            name = _name_of(found.st_uid)
            return Account(name=name, uid=found.st_uid, gid=found.st_gid, other=True)
    for name in SERVER_USERS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return Account(name=name, uid=entry.pw_uid, gid=entry.pw_gid, other=True)
    raise EmbeddedError(
        "PostgreSQL does not run as root, and there is no user `postgres` or `nobody` for it: "
        "`useradd --system postgres`, or start pgqueue as an ordinary user"
    )


def run(
    command: Sequence[str | Path], account: Account, seconds: float
) -> subprocess.CompletedProcess[str]:
    """
    Run a program as the server's user, within a deadline.

    Args:
        command: Program and arguments.
        account: The user to run it as.
        seconds: It is killed after this time.

    Raises:
        EmbeddedError: It could not be started, or it took too long.
    """
    try:
        return subprocess.run(
            [os.fspath(part) for part in command],
            cwd="/",  # the caller's directory may be closed to that user
            env=account.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            check=False,
            **account.spawn_args(),
        )
    except subprocess.TimeoutExpired as error:
        raise EmbeddedError(f"{command[0]} did not end within {seconds:g} s") from error
    except OSError as error:
        as_whom = f" as user {account.name}" if account.other else ""
        raise EmbeddedError(f"{command[0]} cannot be run{as_whom}: {error.strerror}") from error


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:  # a container that runs under a number without a name
        return str(uid)
