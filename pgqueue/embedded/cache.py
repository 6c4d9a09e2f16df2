"""
A copy of the packaged binaries that the server's user can read.

Root keeps checkouts and virtual environments below directories that only root can enter (/root is
0700), and opening those up is not ours to do. The copy is made once per build of PostgreSQL:

- its parent must be a real directory that root alone can write, so nothing in it is planted;
- it is built under another name and renamed, so that a reader sees all of it or nothing;
- each use compares every file's size and time with the original, so a damaged copy is made again.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pgqueue.embedded.errors import EmbeddedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgqueue.embedded.account import Account
    from pgqueue.embedded.binaries import Binaries

CACHE_DIRS = ("/var/cache/pgqueue", "/var/tmp/pgqueue-root")  # noqa: S108  # checked before use
_PARTS = ("bin", "lib", "share")
_NOT_NEEDED = shutil.ignore_patterns("*.a", "pgxs", "pkgconfig")


def readable_by(account: Account, binaries: Binaries) -> Binaries:
    """
    The same binaries at a place where the server's user can run them.

    Args:
        account: The server's user.
        binaries: As found; returned unchanged if that user can use them.

    Raises:
        EmbeddedError: No directory could take the copy.
    """
    if not account.other or _usable(account, binaries.bin_dir):
        return binaries
    refused: list[str] = []
    for parent in map(Path, CACHE_DIRS):
        try:
            bin_dir = _cached(parent, binaries)
        except OSError as error:
            refused.append(f"{parent}: {error.strerror or error}")
            continue
        if _usable(account, bin_dir):
            return replace(binaries, bin_dir=bin_dir)
        refused.append(f"{parent}: user {account.name} cannot run programs there (noexec?)")
    raise EmbeddedError(
        f"user {account.name}, who runs the server for root, cannot read {binaries.bin_dir}, and a "
        f"copy could not be made: {'; '.join(refused)}"
    )


def _usable(account: Account, bin_dir: Path) -> bool:
    share = bin_dir.parent / "share"
    packaged = share / "postgresql" / "postgres.bki"
    return account.can("-x", bin_dir / "postgres") and (
        not packaged.exists() or account.can("-r", packaged)
    )


def _cached(parent: Path, binaries: Binaries) -> Path:
    _own_directory(parent)
    install = binaries.bin_dir.parent
    package = install.parent
    final = parent / f"postgresql-{binaries.version}-{_fingerprint(binaries)}"
    bin_dir = final / package.name / install.name / "bin"
    if final.is_dir() and _complete(package, install, final):
        return bin_dir
    building = Path(tempfile.mkdtemp(prefix="building-", dir=parent))
    try:
        _copy(package, install, building)
        building.chmod(0o755)
        if final.exists():
            # A damaged copy. A server that runs from it keeps its open files.
            final.rename(building.with_name(building.name + "-replaced"))
        building.rename(final)
    except OSError:
        # Somebody else finished the same copy first: use that one.
        if not _complete(package, install, final):
            raise
    finally:
        shutil.rmtree(building, ignore_errors=True)
        shutil.rmtree(building.with_name(building.name + "-replaced"), ignore_errors=True)
    return bin_dir


def _own_directory(path: Path) -> None:
    path.mkdir(mode=0o755, exist_ok=True)
    found = path.lstat()
    mine = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
    if not mine or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PermissionError(0, "not used: it must be a directory that root alone can write")
    path.chmod(0o755)  # whatever the umask left


def _trees(package: Path, install: Path) -> Iterator[tuple[Path, Path]]:
    """Each tree to copy, and where to: the layout stays, as libraries are found by $ORIGIN."""
    for part in _PARTS:
        yield install / part, Path(package.name) / install.name / part
    libraries = package.with_name(package.name + ".libs")
    if libraries.is_dir():
        yield libraries, Path(libraries.name)


def _copy(package: Path, install: Path, target: Path) -> None:
    for source, relative in _trees(package, install):
        shutil.copytree(source, target / relative, ignore=_NOT_NEEDED)
    for folder, _, files in os.walk(target):
        Path(folder).chmod(0o755)
        for name in files:
            path = Path(folder, name)
            path.chmod(0o755 if path.stat().st_mode & stat.S_IXUSR else 0o644)


def _files(package: Path, install: Path) -> Iterator[tuple[Path, Path]]:
    for source, relative in _trees(package, install):
        for folder, folders, files in os.walk(source):
            skipped = _NOT_NEEDED(folder, [*folders, *files])
            folders[:] = sorted(set(folders) - skipped)
            for name in sorted(set(files) - skipped):
                path = Path(folder, name)
                yield path, relative / path.relative_to(source)


def _complete(package: Path, install: Path, copy: Path) -> bool:
    try:
        return all(
            _size_and_time(path) == _size_and_time(copy / relative)
            for path, relative in _files(package, install)
        )
    except OSError:
        return False


def _size_and_time(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_size, int(found.st_mtime)


def _fingerprint(binaries: Binaries) -> str:
    install = binaries.bin_dir.parent
    digest = hashlib.sha256()
    for path, relative in _files(install.parent, install):
        size, changed = _size_and_time(path)
        digest.update(f"{relative}\0{size}\0{changed}\n".encode())
    return digest.hexdigest()[:16]
