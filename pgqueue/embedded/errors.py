"""The one error of the embedded server; its message says what to do."""

from __future__ import annotations

from typing import ClassVar

from pgqueue.errors import PgqueueError


class EmbeddedError(PgqueueError):
    """The embedded server cannot be found, started or stopped."""

    code: ClassVar[str] = "embedded_server"
    exit_code: ClassVar[int] = 7
