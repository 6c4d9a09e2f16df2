"""Run an allowed command: no shell, a time limit, an output limit, and the output's tail."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgqueue import Fail, JobContext, job

from .commands import TAIL_BYTES, Command, Refused, load

if TYPE_CHECKING:
    from asyncio.subprocess import Process

GRACE_SECONDS = 2.0
_CHUNK_BYTES = 65_536


class CommandFailed(Exception):
    """It ended with an exit code that is not success; tried again."""

    code = "command_failed"


@dataclass(frozen=True, slots=True)
class Ran:
    """
    What a command did; stored as the job's result.

    Attributes:
        output: The last 4,000 bytes of stdout and stderr, as they came.
        output_bytes: How much it wrote in all.
    """

    exit_code: int
    output: str
    output_bytes: int


class _Output:
    """Keeps the tail of what comes, and counts all of it."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.count = 0
        self._tail = b""

    @property
    def tail(self) -> str:
        # A NUL cannot be stored in jsonb.
        return self._tail.decode(errors="replace").replace("\0", "\N{REPLACEMENT CHARACTER}")

    async def read(self, process: Process) -> bool:
        """Read to the end; False = it wrote more than its limit."""
        assert process.stdout is not None
        while chunk := await process.stdout.read(_CHUNK_BYTES):
            self.count += len(chunk)
            self._tail = (self._tail + chunk)[-TAIL_BYTES:]
            if self.count > self.limit:
                return False
        return True


@job("shell", retries=2, timeout=3_600)
async def shell(ctx: JobContext, command: str, arguments: dict[str, str] | None = None) -> Ran:
    """
    Run a command of the file that SHELL_COMMANDS names.

    It gets no input, an environment of its own, and PGQUEUE_JOB_ID and PGQUEUE_TOKEN to tell a
    repeated run by. When the job is cancelled, times out or the worker stops, the command and what
    it started are ended, with TERM and two seconds later with KILL.

    Args:
        ctx: The run.
        command: Its name in the file.
        arguments: What takes the place of {name} in its argv.

    Raises:
        Fail: Not allowed (command_refused), past its time (command_timed_out), too much output
            (command_output_limit), or not startable (command_not_started).
        CommandFailed: Another exit code than its exit_codes.
    """
    allowed = load().get(command)
    if allowed is None:
        raise Fail(
            f"no command {command[:100]!r} is allowed; the file that SHELL_COMMANDS names at the"
            " worker lists them",
            code="command_refused",
        )
    try:
        argv = allowed.filled(arguments or {})
    except Refused as exc:
        raise Fail(f"{command}: {exc}", code="command_refused") from exc
    process = await _started(command, allowed, argv, ctx)
    output = _Output(allowed.output_bytes)
    exit_code = None
    try:
        async with asyncio.timeout(allowed.seconds):
            if await output.read(process):
                exit_code = await process.wait()
    except TimeoutError as exc:
        raise Fail(
            f"{command} ran longer than {allowed.seconds:g} s",
            code="command_timed_out",
            details={"output": output.tail},
        ) from exc
    finally:
        if exit_code is None:
            await _end(process)
    if exit_code is None:
        raise Fail(
            f"{command} wrote more than {allowed.output_bytes} bytes",
            code="command_output_limit",
            details={"output": output.tail},
        )
    if exit_code not in allowed.exit_codes:
        raise CommandFailed(f"{command} ended with {exit_code}: {output.tail[-500:].strip()}")
    return Ran(exit_code, output.tail, output.count)


async def _started(name: str, command: Command, argv: list[str], ctx: JobContext) -> Process:
    environment = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        **command.environment,
        "PGQUEUE_JOB_ID": str(ctx.id),
        "PGQUEUE_TOKEN": str(ctx.token),
    }
    try:
        return await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            cwd=command.directory,
            env=environment,
            # A group of its own, so that what it starts ends with it.
            start_new_session=True,
        )
    except OSError as exc:
        raise Fail(f"{name} does not start: {exc.strerror}", code="command_not_started") from exc


async def _end(process: Process) -> None:
    """End the group: what the command has started may outlive it and hold its output open."""
    try:
        _signal(process, signal.SIGTERM)
        await asyncio.wait_for(process.wait(), GRACE_SECONDS)
    except TimeoutError:
        pass
    finally:
        _signal(process, signal.SIGKILL)
        # Reaped here, also when the wait above was given up: no zombie stays.
        await asyncio.shield(process.wait())


def _signal(process: Process, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)
