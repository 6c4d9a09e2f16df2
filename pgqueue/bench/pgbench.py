"""Run pgbench, PostgreSQL's own load generator: its clients cost less than Python's."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from pgqueue.bench.model import Unavailable
from pgqueue.embedded import EmbeddedError, find_binaries

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Load", "Pgbench", "find_pgbench", "read_log", "stop"]

_GRACE_SECONDS = 120.0
_PROBE_SECONDS = 15.0
_TPS = re.compile(r"^tps = ([\d.]+)", re.MULTILINE)
_DONE = re.compile(r"^number of transactions actually processed: (\d+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Load:
    """
    What pgbench did.

    Attributes:
        rate: Transactions per second, connecting left out.
        transactions: How many.
    """

    rate: float
    transactions: int


@dataclass(frozen=True, slots=True)
class Pgbench:
    """
    The program.

    Attributes:
        version: As it says.
    """

    program: Path
    version: str

    def run(
        self,
        dsn: str,
        script: str,
        *,
        clients: int,
        seconds: float | None = None,
        transactions: int | None = None,
        rate: int | None = None,
        variables: Mapping[str, object] | None = None,
    ) -> Load:
        """
        Run *script* and wait for the end; the arguments are those of `start`.

        Raises:
            Unavailable: It failed.
        """
        process = self.start(
            dsn,
            script,
            clients=clients,
            seconds=seconds,
            transactions=transactions,
            rate=rate,
            variables=variables,
        )
        return self.finish(process, seconds=(seconds or 600.0) + _GRACE_SECONDS)

    def start(
        self,
        dsn: str,
        script: str,
        *,
        clients: int,
        seconds: float | None = None,
        transactions: int | None = None,
        rate: int | None = None,
        variables: Mapping[str, object] | None = None,
        log: Path | None = None,
    ) -> subprocess.Popen[str]:
        """
        Start *script*.

        Args:
            dsn: The database; handed over in the environment, which is not public as arguments are.
            script: Its text.
            clients: How many connections.
            seconds: How long; or
            transactions: how many per client.
            rate: Transactions per second, by chance as in life; None = as many as possible.
            variables: Of the script.
            log: The names of its files begin so: `read_log` reads them.
        """
        end = ["-T", str(max(1, round(seconds)))] if seconds else ["-t", str(transactions)]
        limit = ["-R", str(rate)] if rate else []
        given = [f"--define={key}={value}" for key, value in (variables or {}).items()]
        if log is not None:
            end += ["-l", f"--log-prefix={log}"]
        size = ["-c", str(clients), "-j", str(min(clients, os.cpu_count() or 1))]
        process = subprocess.Popen(
            [str(self.program), "-n", "-M", "prepared", *size, *end, *limit, *given, "-f", "-"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=libpq_environment(dsn),
        )
        assert process.stdin is not None
        process.stdin.write(script + "\n")
        process.stdin.close()
        process.stdin = None
        return process

    def finish(self, process: subprocess.Popen[str], *, seconds: float) -> Load:
        """
        Wait for the end of what `start` started.

        Args:
            process: What `start` returned.
            seconds: The deadline; it is killed then.

        Raises:
            Unavailable: It failed, or was killed.
        """
        try:
            out, err = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired as error:
            raise Unavailable(f"pgbench did not end within {seconds:g} s") from error
        finally:
            stop(process)
        rate, done = _TPS.search(out), _DONE.search(out)
        if process.returncode != 0 or rate is None or done is None:
            lines = [line for line in err.splitlines() if "error" in line.lower()]
            raise Unavailable(f"pgbench failed: {(lines or [err.strip()])[0]}")
        return Load(float(rate[1]), int(done[1]))


def read_log(log: Path) -> list[tuple[float, float]]:
    """
    When each transaction ended, and how many seconds it took from when it was sent.

    Args:
        log: As given to `start`.
    """
    found = []
    for path in log.parent.glob(f"{log.name}.*"):
        for line in path.read_text().splitlines():
            # client, number, microseconds, script, end: seconds, microseconds, how late it was sent
            _, _, took, _, seconds, fraction, *late = map(int, line.split())
            found.append((seconds + fraction / 1e6, (took - sum(late)) / 1e6))
    return found


def stop(process: subprocess.Popen[str]) -> None:
    """Kill *process* if it still runs."""
    if process.poll() is None:
        process.kill()
        process.wait(_PROBE_SECONDS)


def find_pgbench() -> Pgbench | None:
    """Find the program: on PATH, in the extra `embedded`, in the system's usual places; or None."""
    found = shutil.which("pgbench")
    candidates = [] if found is None else [Path(found)]
    for version in (18, 17, 16, 15):
        with suppress(EmbeddedError):
            candidates.append(find_binaries(version).program("pgbench"))
    for program in candidates:
        with suppress(OSError, subprocess.SubprocessError):
            done = subprocess.run(
                [program, "--version"],
                capture_output=True,
                text=True,
                check=True,
                timeout=_PROBE_SECONDS,
                stdin=subprocess.DEVNULL,
            )
            return Pgbench(program, done.stdout.strip())
    return None


def libpq_environment(dsn: str) -> dict[str, str]:
    """The environment in which libpq's programs find *dsn*."""
    given = psycopg.conninfo.conninfo_to_dict(dsn)
    names = {
        option.keyword.decode(): option.envvar.decode()
        for option in psycopg.pq.Conninfo.get_defaults()
        if option.envvar
    }
    said = {names[key]: str(value) for key, value in given.items() if key in names}
    return {**os.environ, **said}
