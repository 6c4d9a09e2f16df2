"""What is known of the server that is measured: versions, settings, CPU time."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import psycopg

from pgqueue.bench.queries import statement

__all__ = ["Server", "cpu_seconds", "describe_server", "environment"]

# What changes figures most; printed with them.
_SETTINGS = [
    "fsync",
    "full_page_writes",
    "max_connections",
    "max_wal_size",
    "shared_buffers",
    "synchronous_commit",
    "wal_compression",
    "wal_level",
]
_PROC = Path("/proc")
# Fields of /proc/PID/stat, counted after the name: utime and stime, then those of reaped children.
_OWN = slice(11, 13)
_WITH_CHILDREN = slice(11, 15)
_PARENT = 1


@dataclass(frozen=True, slots=True)
class Server:
    """
    The server.

    Attributes:
        version: As it says.
        settings: Those that change figures most.
        connections: How many more it takes, about.
        local: It runs on this machine.
        postmaster: Its process id, if /proc shows it.
    """

    version: str
    settings: dict[str, str]
    connections: int
    local: bool
    postmaster: int | None

    def cpu_seconds(self) -> float | None:
        """
        CPU time of all its processes, ended ones too; None if it cannot be seen from here.

        Whoever else uses the server is counted as well.
        """
        if self.postmaster is None:
            return None
        total = cpu_seconds(self.postmaster, _WITH_CHILDREN) or 0.0
        for entry in _PROC.iterdir():
            if entry.name.isdecimal():
                fields = _stat(int(entry.name))
                if fields is not None and int(fields[_PARENT]) == self.postmaster:
                    total += _seconds(fields, _OWN)
        return total

    def free_bytes(self, connection: psycopg.Connection[Any]) -> int | None:
        """
        Free space where its data are; None if it cannot be seen from here.

        Args:
            connection: To the server.
        """
        if not self.local:
            return None
        try:
            (row,) = connection.execute(statement("data_directory").encode()).fetchall()
            return shutil.disk_usage(row[0]).free
        except (psycopg.errors.InsufficientPrivilege, OSError):
            return None


def cpu_seconds(pid: int, fields: slice = _OWN) -> float | None:
    """
    CPU time of one process; None where there is no /proc, or no such process.

    Args:
        pid: Its id.
        fields: Which of the process's times.
    """
    found = _stat(pid)
    return None if found is None else _seconds(found, fields)


def describe_server(connection: psycopg.Connection[Any]) -> Server:
    """Ask the server."""
    version, most, used, backend, local = connection.execute(
        statement("server").encode()
    ).fetchall()[0]
    rows = connection.execute(statement("settings").encode(), (_SETTINGS,)).fetchall()
    return Server(
        version=version,
        settings={str(name): str(value) for name, value in rows},
        connections=most - used - 3,
        local=local,
        postmaster=_postmaster(backend) if local else None,
    )


def environment(server: Server, pgbench: str) -> dict[str, str]:
    """
    What stands beside the figures.

    Args:
        server: Which is measured.
        pgbench: Which one enqueues, or what is used instead.
    """
    uvloop = importlib.util.find_spec("uvloop") is not None
    return {
        "pgqueue": metadata.version("pgqueue"),
        "PostgreSQL": server.version,
        **server.settings,
        "server": "on this machine" if server.local else "on another machine",
        "machine": f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}",
        "Python": platform.python_version(),
        "psycopg": metadata.version("psycopg"),
        "uvloop": metadata.version("uvloop") if uvloop else "not installed",
        "producers": pgbench,
    }


def _postmaster(backend: int) -> int | None:
    # In a container of its own the server has other process ids than we see.
    try:
        command = (_PROC / str(backend) / "cmdline").read_bytes()
    except OSError:
        return None
    fields = _stat(backend)
    if fields is None or not command.startswith(b"postgres"):
        return None
    return int(fields[_PARENT])


def _stat(pid: int) -> list[str] | None:
    try:
        text = (_PROC / str(pid) / "stat").read_text("utf-8", "replace")
    except OSError:
        return None
    return text.rpartition(")")[2].split()


def _seconds(fields: list[str], which: slice) -> float:
    return sum(int(field) for field in fields[which]) / os.sysconf("SC_CLK_TCK")
