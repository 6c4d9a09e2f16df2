from __future__ import annotations

import dataclasses
import io
import os
from typing import TYPE_CHECKING

import pytest

from pgqueue import Fail
from workers.environment import Environment
from workers.warehouse.rows import LINE_BYTES_MAX
from workers.warehouse.settings import Settings, folder_of
from workers.warehouse.sources import BLOCK_BYTES, local_file, scanned

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Files of acme and of umbrella, and one beside their folders."""
    root = tmp_path / "root"
    for tenant in ("acme", "umbrella"):
        (root / tenant).mkdir(parents=True)
        (root / tenant / "products.csv").write_text(f"of {tenant}")
    (root / "all.csv").write_text("of everybody")
    (tmp_path / "secret.csv").write_text("of nobody")
    return Settings.read(Environment(variables={"IMPORT_ROOT": str(root)}))


def test_a_file_of_the_tenant_is_opened(settings: Settings) -> None:
    """A path is relative to the tenant's folder, subfolders included."""
    with local_file(settings, "acme", "./products.csv") as file:
        assert file.read() == b"of acme"


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("../umbrella/products.csv", "file_not_allowed"),
        ("../all.csv", "file_not_allowed"),
        ("../../secret.csv", "file_not_allowed"),
        ("x/../../umbrella/products.csv", "file_not_allowed"),
        ("/etc/passwd", "file_not_allowed"),
        ("link.csv", "file_not_allowed"),
        ("products.csv\0.png", "file_not_allowed"),
        ("pipe", "file_not_allowed"),
        (".", "file_not_allowed"),
        ("nothing.csv", "file_missing"),
        ("products.csv/x", "file_missing"),
    ],
)
def test_a_path_that_leads_elsewhere_is_refused(settings: Settings, path: str, code: str) -> None:
    """Up, from the root, through a link; and a FIFO is not waited for."""
    assert settings.import_root is not None
    folder = settings.import_root / "acme"
    (folder / "link.csv").symlink_to(settings.import_root / "umbrella" / "products.csv")
    os.mkfifo(folder / "pipe")
    with pytest.raises(Fail) as caught, local_file(settings, "acme", path):
        pass

    assert caught.value.error.code == code


@pytest.mark.parametrize("tenant", ["..", ".", "a/../umbrella", "umbrella/", "Umbrella"])
def test_a_tenant_by_any_name_has_a_folder_of_its_own(settings: Settings, tenant: str) -> None:
    """A name is no path: it leads neither up nor into another tenant's folder."""
    name = folder_of(tenant)

    assert "/" not in name
    assert name not in {".", "..", "umbrella"}
    with pytest.raises(Fail), local_file(settings, tenant, "products.csv"):
        pass


def test_a_worker_without_a_folder_reads_no_paths(settings: Settings) -> None:
    """The root is allowed by whoever starts the worker, not by the payload."""
    with (
        pytest.raises(Fail) as caught,
        local_file(dataclasses.replace(settings, import_root=None), "acme", "products.csv"),
    ):
        pass

    assert caught.value.error.code == "paths_disabled"


def scan(content: bytes, *, bytes_max: int = 10 * LINE_BYTES_MAX, folder: Path) -> str:
    """The fingerprint of a file with this content."""
    path = folder / "scanned"
    path.write_bytes(content)
    with path.open("rb") as file:
        return scanned(file, bytes_max=bytes_max).fingerprint


@pytest.mark.parametrize(
    ("content", "code", "item"),
    [
        (b"", "file_empty", None),
        ("sku\nGröße".encode("latin-1"), "bad_encoding", {"row": 2}),
        ("sku\n".encode("utf-16"), "bad_encoding", {"row": 1}),
        (b"\n" * BLOCK_BYTES + b"\xe4", "bad_encoding", {"row": BLOCK_BYTES + 1}),
        (b"a\nb\xc3", "bad_encoding", {"row": 2}),
        (b"x" * (10 * LINE_BYTES_MAX + 1), "file_too_large", None),
    ],
)
def test_a_file_that_is_no_text_is_refused_before_a_row_is_stored(
    tmp_path: Path, content: bytes, code: str, item: object
) -> None:
    """The error names the first line that is wrong."""
    with pytest.raises(Fail) as caught:
        scan(content, folder=tmp_path)

    assert (caught.value.error.code, caught.value.error.item) == (code, item)


def test_a_character_may_lie_across_two_blocks(tmp_path: Path) -> None:
    """The scan reads in blocks, and characters have up to four bytes."""
    content = b"x" * (BLOCK_BYTES - 1) + "€\n".encode() * 3

    assert scan(content, folder=tmp_path).startswith("sha256:")


class Counted(io.FileIO):
    """Counts what is read."""

    taken = 0

    def read(self, size: int | None = -1, /) -> bytes:
        """As the base."""
        block = super().read(-1 if size is None else size)
        self.taken += len(block)
        return block


@pytest.mark.parametrize("before", [0, 5, BLOCK_BYTES - 1, 3 * BLOCK_BYTES + 7])
def test_a_line_of_50_megabytes_is_refused_and_not_read_whole(tmp_path: Path, before: int) -> None:
    """One document where lines should be: a few blocks are enough to see that."""
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.write(b"a\n" * before)
        file.truncate(file.tell() + 50_000_000)  # NULs, without a line break
    with Counted(str(path)) as counted, pytest.raises(Fail) as caught:
        scanned(counted, bytes_max=100_000_000)

    assert (caught.value.error.code, caught.value.error.item) == (
        "line_too_long",
        {"row": before + 1},
    )
    assert counted.taken <= 2 * before + LINE_BYTES_MAX + BLOCK_BYTES


@pytest.mark.parametrize("length", [LINE_BYTES_MAX - 1, LINE_BYTES_MAX, LINE_BYTES_MAX + 1])
def test_the_longest_line_is_the_same_for_the_scan_and_the_reader(
    tmp_path: Path, length: int
) -> None:
    """A line that the scan lets pass is one that the reader takes, wherever the blocks end."""
    for before in (0, 1, BLOCK_BYTES // 2):
        content = b"\n" * before + b"x" * (length - 1) + b"\nrest\n"
        if length <= LINE_BYTES_MAX:
            scan(content, folder=tmp_path)
            continue
        with pytest.raises(Fail):
            scan(content, folder=tmp_path)
