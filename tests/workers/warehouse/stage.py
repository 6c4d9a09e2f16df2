"""What the tests of the warehouse share: its files, its jobs, its rows."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psycopg.conninfo import make_conninfo

from tests.support.applications import finishes
from tests.support.sqljobs import row, value
from tests.support.workers import worker_process

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tests.support.applications import Ended
    from tests.support.sqljobs import Db

APP = "workers.warehouse"
PRODUCTS = "sku,name,price\n"


@dataclass(frozen=True, slots=True)
class Warehouse:
    """
    A database with the application, and where its workers find files.

    Attributes:
        environment: Of the workers.
    """

    dsn: str
    db: Db
    tmp: Path
    root: Path
    reports: Path
    environment: dict[str, str]

    def file(self, name: str, content: str | bytes | Iterable[str], *, tenant: str = "acme") -> str:
        """Write a file into a tenant's folder; returns its name."""
        folder = self.root / tenant
        folder.mkdir(exist_ok=True)
        match content:
            case bytes():
                (folder / name).write_bytes(content)
            case str():
                (folder / name).write_text(content)
            case _:
                with (folder / name).open("w") as file:
                    file.writelines(content)
        return name

    def enqueue(self, job_type: str, *, tenant: str | None = "acme", **payload: Any) -> Any:
        """Insert a job of this tenant."""
        return value(
            self.db,
            "insert into pgqueue.jobs (job_type, payload, tenant_id) values (%s, %s::jsonb, %s)"
            " returning id",
            job_type,
            json.dumps(payload),
            tenant,
        )

    def run(
        self, *job_ids: Any, concurrency: int = 4, user: str | None = None, **environment: str
    ) -> list[Ended]:
        """
        Run jobs in a worker process of the application until they have finished.

        Args:
            job_ids: What to wait for.
            concurrency: Of the worker; 1 = in the order of their inserts.
            user: As whom it logs in; None for the owner.
            environment: More variables.
        """
        dsn = make_conninfo(self.dsn, **({} if user is None else {"user": user}))
        given = {**self.environment, "PGQUEUE_DSN": dsn, **environment}
        options: dict[str, Any] = {"environment": given, "concurrency": concurrency}
        with worker_process(dsn, self.tmp, app=APP, poll_seconds=0.2, **options):
            return [finishes(self.db, job_id) for job_id in job_ids]

    def products(self) -> list[Any]:
        """Tenant, sku, name and price of all."""
        return self.db.execute(
            "select tenant_id, sku, name, price::text from warehouse.products order by 1, 2"
        ).fetchall()

    def stock(self) -> list[Any]:
        """Tenant, sku, location and quantity of all."""
        return self.db.execute(
            "select tenant_id, sku, location, quantity from warehouse.stock_levels order by 1, 2, 3"
        ).fetchall()

    def fingerprint(self) -> tuple[Any, ...]:
        """How many products there are, and a sum over all that is in them."""
        return row(
            self.db,
            "select count(*), sum(hashtext(sku || name || price || unit)) from warehouse.products",
        )


def many(rows: int, *, bad_every: int = 0) -> Iterable[str]:
    """A file of products; every so many lines one without a price."""
    yield PRODUCTS
    for n in range(1, rows + 1):
        price = "" if bad_every and n % bad_every == 0 else f"{n % 500}.{n % 100:02d}"
        yield f"SKU-{n:06d},Article {n},{price}\n"
