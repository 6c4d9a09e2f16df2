"""Create a data directory, write its settings, and say why a server did not start."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from pgqueue.embedded.account import run
from pgqueue.embedded.errors import EmbeddedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgqueue.embedded.binaries import Binaries
    from pgqueue.embedded.home import Home

Setting: TypeAlias = str | int | float | bool

_BUILTIN_LOCALE_SINCE = 17
_INITDB_SECONDS = 180.0
_LOG_TAIL_BYTES = 4000
_MEGABYTE = 1024 * 1024
_FREE_BYTES_MIN = 120 * _MEGABYTE  # a new cluster takes 40 MB, and its WAL grows by 16 MB at a time
_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_.]*")
_NO_SPACE = "No space left on device"


def create_cluster(home: Home, binaries: Binaries, *, durable: bool) -> None:
    """
    Run initdb unless the data directory exists; check the version of one that does.

    Args:
        home: Locked by the caller.
        binaries: Readable by the server's user.
        durable: Whether initdb waits for the disk.

    Raises:
        EmbeddedError: initdb failed, the disk is full, or the directory is of another version.
    """
    if home.pgdata.exists():
        _check_version(home, binaries)
        return
    for unfinished in home.path.glob("pgdata.new-*"):
        shutil.rmtree(unfinished, ignore_errors=True)
    free = shutil.disk_usage(home.path).free
    if free < _FREE_BYTES_MIN:
        raise EmbeddedError(
            f"disk full: {home.path} has {free // _MEGABYTE} MB free and a new server needs "
            f"{_FREE_BYTES_MIN // _MEGABYTE} MB; choose another place with PGQUEUE_HOME"
        )
    building = Path(tempfile.mkdtemp(prefix="pgdata.new-", dir=home.path))
    home.account.owns(building)
    done = run(_initdb(binaries, building, durable=durable), home.account, _INITDB_SECONDS)
    if done.returncode != 0:
        shutil.rmtree(building, ignore_errors=True)
        said = f"{done.stdout}\n{done.stderr}".strip()
        raise EmbeddedError(
            f"initdb failed in {home.path}{_space(home, said)}:\n{said[-_LOG_TAIL_BYTES:]}"
        )
    building.rename(home.pgdata)


def write_settings(
    home: Home, binaries: Binaries, socket_dir: Path, settings: Mapping[str, Setting]
) -> None:
    """
    Write the configuration file of the next start.

    It lies in the home, not in the data directory: as root we do not write where the
    server's user could have put a link.

    Args:
        home: Locked by the caller.
        binaries: Their version heads the file.
        socket_dir: Where to listen.
        settings: Names and values; `ALTER SYSTEM` overrides them.

    Raises:
        EmbeddedError: A name is not one of a setting.
    """
    every: dict[str, Setting] = {
        "timezone": "UTC",
        "log_timezone": "UTC",
        "log_destination": "stderr",
        "logging_collector": False,
        "unix_socket_directories": _list_item(str(socket_dir)),
        "unix_socket_permissions": "0700",
        **settings,
    }
    for name in every:
        if _NAME.fullmatch(name) is None:
            raise EmbeddedError(f"not the name of a server setting: {name!r}")
    lines = [
        f"# PostgreSQL {binaries.version}. Written at each start; ALTER SYSTEM overrides it.",
        f"include {_quoted(str(home.pgdata / 'postgresql.conf'))}",
        *(f"{name} = {_quoted(value)}" for name, value in every.items()),
    ]
    home.settings.unlink(missing_ok=True)
    home.settings.write_text("\n".join(lines) + "\n", encoding="utf-8")
    home.settings.chmod(0o644)


def start_command(home: Home, binaries: Binaries, seconds: int) -> list[str]:
    """
    The command that starts the server and waits until it accepts connections.

    Args:
        home: Created.
        binaries: Readable by the server's user.
        seconds: How long pg_ctl waits.
    """
    pg_ctl = binaries.program("pg_ctl")
    # pg_ctl hands -o to a shell.
    options = f"-c {shlex.quote(f'config_file={home.settings}')}"
    where = ["-D", str(home.pgdata), "-l", str(home.log)]
    return [str(pg_ctl), "start", "-s", "-w", "-t", str(seconds), *where, "-o", options]


def explain(home: Home, offset: int) -> str:
    """
    The end of the server's log, and what it means where we know.

    Args:
        home: Whose log.
        offset: Where the log of the last start begins.
    """
    try:
        with home.log.open("rb") as log:
            log.seek(0, 2)
            log.seek(max(offset, log.tell() - _LOG_TAIL_BYTES))
            tail = log.read().decode(errors="replace").strip()
    except OSError as error:
        return f"(no server log: {error.strerror})"
    return f"end of {home.log}{_space(home, tail)}:\n{tail}"


def _initdb(binaries: Binaries, pgdata: Path, *, durable: bool) -> list[str]:
    if binaries.major >= _BUILTIN_LOCALE_SINCE:
        locale = ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    else:
        locale = ["--locale=C.UTF-8" if sys.platform == "linux" else "--locale=C"]
    return [
        str(binaries.program("initdb")),
        "--username=postgres",
        "--auth-local=trust",  # the socket's directory lets nobody else in
        "--auth-host=reject",
        "--encoding=UTF8",
        "--data-checksums",
        "--no-instructions",
        *locale,
        *([] if durable else ["--no-sync"]),
        f"--pgdata={pgdata}",
    ]


def _check_version(home: Home, binaries: Binaries) -> None:
    try:
        found = (home.pgdata / "PG_VERSION").read_text(encoding="ascii").strip()
    except OSError as error:
        raise EmbeddedError(f"{home.pgdata} is not a data directory: {error.strerror}") from error
    if found != str(binaries.major):
        raise EmbeddedError(
            f"{home.path} holds data of PostgreSQL {found}, and this is {binaries.version}; "
            "choose another directory with PGQUEUE_HOME, or that version"
        )


def _space(home: Home, text: str) -> str:
    if _NO_SPACE not in text:
        return ""
    free = shutil.disk_usage(home.path).free // _MEGABYTE
    return f" (disk full: {free} MB free)"


def _list_item(path: str) -> str:
    return '"' + path.replace('"', '""') + '"'


def _quoted(value: Setting) -> str:
    text = ("on" if value else "off") if isinstance(value, bool) else str(value)
    if "\n" in text or "\0" in text:
        raise EmbeddedError("a server setting has a line break or a NUL in it")
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"
