"""Files from elsewhere: fetched whole into a temporary file, from allowed addresses only."""

from __future__ import annotations

import tempfile
import time
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING
from urllib.parse import urlsplit

import httpx

from pgqueue import Fail
from workers.http import BadAnswer, Service, ServiceUnavailable, check_status

from .sources import too_large

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .settings import Settings

__all__ = ["downloaded", "is_below"]

# No byte for so long, and the server counts as gone.
SILENCE_SECONDS = 20.0
_WHAT = "GET of the file"


@contextmanager
def downloaded(settings: Settings, url: str) -> Iterator[IO[bytes]]:
    """
    Fetch *url*; the file vanishes with the block, or with the process.

    Raises:
        Fail: The address is not allowed, the file is too large, or the server refuses.
        Retry: The server named the time to come again.
        ServiceUnavailable: No answer, not in time, or not now.
        BadAnswer: The file broke off.
    """
    if not any(is_below(url, allowed) for allowed in settings.import_from):
        message = "files are not fetched from this address: WAREHOUSE_IMPORT_FROM allows it not"
        raise Fail(message, code="url_not_allowed", item=url[:1000])
    with tempfile.TemporaryFile(prefix="warehouse-") as file:
        try:
            # Redirects are not followed: they could lead to an address that is not allowed.
            # Nor is it sent packed: a small part could unpack to more than fits into memory.
            with httpx.stream(
                "GET", url, timeout=SILENCE_SECONDS, headers={"accept-encoding": "identity"}
            ) as answer:
                if not answer.is_success:
                    service = Service(name="file server", url=url)
                    check_status(answer, b"", _WHAT, service)
                _fetch(answer, file, settings)
        except httpx.TimeoutException as exc:
            raise ServiceUnavailable(f"{_WHAT}: silent for {SILENCE_SECONDS:g} s") from exc
        except (httpx.RemoteProtocolError, httpx.DecodingError, httpx.ReadError) as exc:
            raise BadAnswer(f"{_WHAT}: it broke off: {exc}") from exc
        except httpx.InvalidURL as exc:
            raise Fail(f"{_WHAT}: {exc}", code="url_not_allowed") from exc
        except httpx.TransportError as exc:
            raise ServiceUnavailable(f"{_WHAT}: {str(exc) or type(exc).__name__}") from exc
        file.flush()
        file.seek(0)
        yield file


def _fetch(answer: httpx.Response, file: IO[bytes], settings: Settings) -> None:
    until = time.monotonic() + settings.file_seconds
    size = 0
    for part in answer.iter_raw():
        size += len(part)
        if size > settings.file_bytes_max:
            raise too_large(settings.file_bytes_max)
        if time.monotonic() > until:
            raise ServiceUnavailable(f"{_WHAT}: not complete in {settings.file_seconds:g} s")
        file.write(part)


def is_below(url: str, allowed: str) -> bool:
    """Whether *url* is below *allowed*: same scheme, same host and port, the path begins so."""
    try:
        given, wanted = urlsplit(url), urlsplit(allowed)
        places = [(one.scheme, one.hostname, one.port) for one in (given, wanted)]
    except ValueError:
        return False
    # `..` and `%2e%2e` would climb out of the path that is allowed.
    climbs = ".." in given.path.lower().replace("%2e", ".")
    plain = not climbs and given.username is None and given.scheme in {"http", "https"}
    folder = wanted.path.removesuffix("/") + "/"
    return plain and places[0] == places[1] and given.path.startswith(folder)
