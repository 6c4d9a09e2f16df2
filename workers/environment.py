"""Settings of an application from environment variables: read once, checked where they are read."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pgqueue import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})


@dataclass(frozen=True, slots=True)
class Environment:
    """
    Variables of one application.

    A variable that is not set, or empty, is its default; nonsense is a ConfigurationError that
    names the variable.

    Attributes:
        prefix: Put before every name, such as `MARKET_`.
        variables: By default the process's.
    """

    prefix: str = ""
    variables: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)

    def text(self, name: str, default: str = "") -> str:
        """One string."""
        return self.variables.get(self.prefix + name, "").strip() or default

    def whole(self, name: str, default: int, *, least: int = 1, most: int = 1_000_000) -> int:
        """A whole number from *least* to *most*."""
        text = self.text(name, str(default))
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if not least <= value <= most:
            raise self._nonsense(name, text, f"a whole number from {least} to {most}")
        return value

    def seconds(self, name: str, default: float, *, most: float = 86_400) -> float:
        """A time greater than 0."""
        text = self.text(name, str(default))
        try:
            value = float(text)
        except ValueError:
            value = 0.0
        if not 0 < value <= most:
            raise self._nonsense(name, text, f"a number of seconds up to {most:g}")
        return value

    def flag(self, name: str, *, default: bool) -> bool:
        """Whether it is on: true, yes, on, 1; false, no, off, 0."""
        text = self.text(name, "on" if default else "off").lower()
        if text not in _TRUE | _FALSE:
            raise self._nonsense(name, text, "true or false")
        return text in _TRUE

    def words(self, name: str, default: tuple[str, ...] = ()) -> tuple[str, ...]:
        """A list with commas; each once."""
        text = self.text(name, ",".join(default))
        return tuple(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))

    def url(self, name: str, default: str | None = None) -> str:
        """An http or https address, without the slash at its end; a must without a default."""
        text = self.text(name, default or "")
        if not text and default is None:
            raise ConfigurationError(
                f"{self.prefix}{name} is not set: it must be an http or https address"
            )
        try:
            parts = urlsplit(text)
        except ValueError:
            parts = urlsplit("")
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise self._nonsense(name, text, "an http or https address")
        return text.rstrip("/")

    def _nonsense(self, name: str, text: str, wanted: str) -> ConfigurationError:
        return ConfigurationError(f"{self.prefix}{name} is {text!r}, not {wanted}")
