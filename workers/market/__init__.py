"""
Collectors of market data: three jobs on schedules, which store what an API answers.

    pgqueue migrate --app workers.market
    pgqueue worker --app workers.market

collectors.py   the jobs: fetch, then store in one transaction with the completion
coins.py        what an answer must look like: pure functions, tested without a service
client.py       the service's addresses, paged
settings.py     what the environment says
pretended.py    the service, pretended from data/coins.json: for the demo and the tests
"""

from __future__ import annotations

from .collectors import contract_addresses_collection, price_collection, top_coins_collection

__all__ = ["contract_addresses_collection", "price_collection", "top_coins_collection"]
