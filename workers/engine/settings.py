"""What the environment says, read once per job."""

from __future__ import annotations

from dataclasses import dataclass, field

from workers.environment import Environment

__all__ = ["Settings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """
    The settings of the application.

    Attributes:
        pricing_url: ENGINE_PRICING_URL, a must; the pricing API, without `/prices`.
        pricing_key: ENGINE_PRICING_KEY; sent as a bearer token, if there is one.
        pricing_seconds: ENGINE_PRICING_SECONDS; one question may take so long.
    """

    pricing_url: str
    pricing_key: str = field(default="", repr=False)
    pricing_seconds: float = 10.0

    @classmethod
    def read(cls, environment: Environment | None = None) -> Settings:
        """
        Read the environment.

        Raises:
            ConfigurationError: A value makes no sense or is missing; names the variable.
        """
        given = environment or Environment("ENGINE_")
        return cls(
            pricing_url=given.url("PRICING_URL"),
            pricing_key=given.text("PRICING_KEY"),
            pricing_seconds=given.seconds("PRICING_SECONDS", 10.0, most=60),
        )
