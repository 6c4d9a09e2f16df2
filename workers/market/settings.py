"""What the environment says."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

from workers.environment import Environment
from workers.http import Service

LIMIT_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Settings:
    """
    The collectors'.

    Attributes:
        service: MARKET_API_URL, MARKET_API_KEY (sent as MARKET_API_KEY_HEADER), MARKET_SECONDS per
            request and MARKET_WAIT_SECONDS_MAX for a service that limits rates.
        source: MARKET_SOURCE: what the rows call it.
        currency: MARKET_CURRENCY.
        chains: MARKET_CHAINS, with commas: contracts on others are skipped; empty: none is.
        page_size: MARKET_PAGE_SIZE: coins per request.
        limits: NAME_LIMIT by job type: how many coins, unless the payload says so.
    """

    service: Service
    source: str
    currency: str
    chains: frozenset[str]
    page_size: int
    limits: dict[str, int] = field(default_factory=dict)

    @classmethod
    def read(cls, environment: Environment | None = None) -> Self:
        """
        Read them.

        Raises:
            ConfigurationError: A value that makes no sense; names the variable.
        """
        env = environment or Environment()
        market = Environment("MARKET_", env.variables)
        key = market.text("API_KEY")
        header = market.text("API_KEY_HEADER", "x-cg-demo-api-key")
        return cls(
            service=Service(
                name=market.text("SOURCE", "coingecko"),
                url=market.url("API_URL", "https://api.coingecko.com/api/v3"),
                headers={header: key} if key else {},
                seconds=market.seconds("SECONDS", 20),
                wait_seconds_max=market.seconds("WAIT_SECONDS_MAX", 900),
            ),
            source=market.text("SOURCE", "coingecko"),
            currency=market.text("CURRENCY", "usd").lower(),
            chains=frozenset(market.words("CHAINS")),
            page_size=market.whole("PAGE_SIZE", 250, most=250),
            limits={
                job_type: env.whole(f"{job_type.upper()}_LIMIT", 250, most=LIMIT_MAX)
                for job_type in (
                    "top_coins_collection",
                    "price_collection",
                    "contract_addresses_collection",
                )
            },
        )
