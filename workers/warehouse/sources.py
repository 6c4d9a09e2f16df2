"""
Where files come from, and what is refused before a single row is read.

A path is relative to the tenant's own folder below WAREHOUSE_IMPORT_ROOT and does not lead out of
it; a URL begins with one of WAREHOUSE_IMPORT_FROM. The file is read once from end to end before the
first row is stored: one that is too large, not UTF-8 or not made of lines changes nothing.
"""

from __future__ import annotations

import codecs
import hashlib
import os
import stat
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from pgqueue import Fail

from .rows import LINE_BYTES_MAX, not_utf8, too_long
from .settings import folder_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .settings import Settings

__all__ = ["Source", "local_file", "scanned"]

# Smaller than a line may be: then a line within one block is short enough.
BLOCK_BYTES = 256 * 1024
_MISSING = (FileNotFoundError, NotADirectoryError)


@dataclass(frozen=True, slots=True)
class Source:
    """
    A file that can be read as lines of UTF-8.

    Attributes:
        file: At its beginning.
        size: In bytes.
        fingerprint: Of its bytes.
    """

    file: IO[bytes]
    size: int
    fingerprint: str
    _state: tuple[int, int]

    def check(self) -> None:
        """
        Make sure that nobody has written to the file since it was scanned.

        Raises:
            Fail: Somebody has.
        """
        if _state(self.file) != self._state:
            raise Fail("the file was changed while it was read", code="source_changed")


@contextmanager
def local_file(settings: Settings, tenant: str, path: str) -> Iterator[IO[bytes]]:
    """
    Open a file of the tenant's.

    Raises:
        Fail: It is not there, no file, or not his.
    """
    if settings.import_root is None:
        raise Fail(
            "this worker imports no local files: WAREHOUSE_IMPORT_ROOT is not set",
            code="paths_disabled",
            item=path,
        )
    folder = settings.import_root / folder_of(tenant)
    if "\0" in path:
        raise Fail("the path holds a NUL character", code="file_not_allowed")
    target = (folder / path).resolve()
    if not target.is_relative_to(folder):
        message = "the path leads out of the tenant's folder"
        raise Fail(message, code="file_not_allowed", item=path)
    try:
        # Opening a FIFO would wait for its writer; the last component may have become a link.
        number = os.open(target, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as exc:
        code = "file_missing" if isinstance(exc, _MISSING) else "file_unreadable"
        raise Fail(f"cannot be read: {exc.strerror}", code=code, item=path) from exc
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise Fail("this is no regular file", code="file_not_allowed", item=path)
    with os.fdopen(number, "rb") as file:
        yield file


def scanned(file: IO[bytes], *, bytes_max: int) -> Source:
    """
    Read *file* once, in blocks.

    Raises:
        Fail: It is empty, too large, not UTF-8, or has a line beyond LINE_BYTES_MAX.
    """
    state = _state(file)
    if state[0] > bytes_max:
        raise too_large(bytes_max)
    digest, decoder = hashlib.sha256(), codecs.getincrementaldecoder("utf-8")()
    size, line, unfinished = 0, 1, 0
    while block := file.read(BLOCK_BYTES):
        if not size:
            _refuse_utf16(block)
        size += len(block)
        if size > bytes_max:
            raise too_large(bytes_max)
        first = block.find(b"\n")
        if unfinished + (len(block) if first < 0 else first) >= LINE_BYTES_MAX:
            raise too_long(line)
        _decode(decoder, block, line)
        digest.update(block)
        line += block.count(b"\n")
        unfinished = unfinished + len(block) if first < 0 else len(block) - block.rfind(b"\n") - 1
    if not size:
        raise Fail("the file is empty", code="file_empty")
    _decode(decoder, b"", line, final=True)
    file.seek(0)
    return Source(file, size, f"sha256:{digest.hexdigest()}", state)


def too_large(bytes_max: int) -> Fail:
    """What is said of a file beyond WAREHOUSE_FILE_BYTES_MAX."""
    return Fail(f"the file has more than {bytes_max} bytes: split it", code="file_too_large")


def _decode(decoder: Any, block: bytes, line: int, *, final: bool = False) -> None:
    try:
        decoder.decode(block, final)
    except UnicodeDecodeError as exc:
        # exc.object is the block, behind the rest of a character that the last one ended with.
        raise not_utf8(line + exc.object.count(b"\n", 0, exc.start)) from exc


def _refuse_utf16(block: bytes) -> None:
    if block.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise Fail("the file is UTF-16: save it as UTF-8", code="bad_encoding", item={"row": 1})


def _state(file: IO[bytes]) -> tuple[int, int]:
    found = os.fstat(file.fileno())
    return found.st_size, found.st_mtime_ns
