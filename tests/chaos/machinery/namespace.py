"""
A network of its own for a worker, whose cable can be pulled.

    with Namespace() as space:
        subprocess.Popen([*space.wrapper, "program"])   # reaches us at space.address
        with space.black_hole():
            ...                                          # packets vanish, both ways, in silence

The namespace belongs to a process that ends when its standard input closes: when we die the kernel
removes all of it, the interfaces too.
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

NETWORK = "198.18.0.0/15"  # set aside for tests by RFC 2544
_COMMAND_SECONDS = 15.0
_numbers = itertools.count(1)


class Namespace:
    """
    See the module. Needs root and the programs ip, unshare and nsenter.

    Attributes:
        address: Ours, as the namespace sees it.
    """

    def __init__(self) -> None:
        number = (os.getpid() * 16 + next(_numbers)) % 2**14
        self.address = f"198.18.{number // 64}.{number % 64 * 4 + 1}"
        self._inner = f"198.18.{number // 64}.{number % 64 * 4 + 2}"
        self._ours, self._theirs = f"pgq{number}a", f"pgq{number}b"
        self._holder: subprocess.Popen[bytes] | None = None

    @staticmethod
    def missing() -> str | None:
        """Why this machine cannot do it; None = it can."""
        if os.geteuid() != 0:
            return "a network namespace needs root"
        absent = [name for name in ("ip", "unshare", "nsenter") if shutil.which(name) is None]
        if absent:
            return f"not installed: {', '.join(absent)} (Debian: iproute2, util-linux)"
        tried = subprocess.run(
            ["unshare", "-n", "ip", "link", "add", "pgqtest", "type", "veth"],  # noqa: S607
            capture_output=True,
            text=True,
            timeout=_COMMAND_SECONDS,
            check=False,
        )
        return f"no network namespace here: {tried.stderr.strip()}" if tried.returncode else None

    @property
    def wrapper(self) -> tuple[str, ...]:
        """Put before a command to run it inside."""
        assert self._holder is not None
        return ("nsenter", "-t", str(self._holder.pid), "-n", "--")

    def down(self) -> None:
        """Pull the cable: nobody is told."""
        _ip("link", "set", self._ours, "down")

    def up(self) -> None:
        """Plug it in again."""
        _ip("link", "set", self._ours, "up")

    @contextmanager
    def black_hole(self) -> Iterator[None]:
        """Without a cable until the block ends."""
        self.down()
        try:
            yield
        finally:
            self.up()

    def __enter__(self) -> Self:
        self._holder = subprocess.Popen(
            ["unshare", "-n", "--", "sh", "-c", "echo ready; read -r _"],  # noqa: S607
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            self._connect()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end()

    def _connect(self) -> None:
        assert self._holder is not None
        assert self._holder.stdout is not None
        self._holder.stdout.readline()
        pid = str(self._holder.pid)
        _ip("link", "add", self._ours, "type", "veth", "peer", "name", self._theirs, "netns", pid)
        _ip("address", "add", f"{self.address}/30", "dev", self._ours)
        _ip("link", "set", self._ours, "up")
        for command in (
            ("address", "add", f"{self._inner}/30", "dev", self._theirs),
            ("link", "set", self._theirs, "up"),
            ("link", "set", "lo", "up"),
        ):
            _run(*self.wrapper, "ip", *command)

    def _end(self) -> None:
        if self._holder is not None:
            self._holder.communicate(timeout=_COMMAND_SECONDS)
            self._holder = None


def _ip(*arguments: str) -> None:
    _run("ip", *arguments)


def _run(*command: str) -> None:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=_COMMAND_SECONDS, check=False
    )
    if done.returncode != 0:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip()}")
