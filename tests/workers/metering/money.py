"""Money as a person in psql would look at it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from tests.support.sqljobs import insert, row

if TYPE_CHECKING:
    from uuid import UUID

    from tests.support.sqljobs import Db


class Wallet(NamedTuple):
    """In cents."""

    balance: int
    pending: int
    available: int


def wallet(db: Db, customer: str = "acme") -> Wallet:
    """The customer's euros."""
    return Wallet(
        *row(
            db,
            "select balance, pending, available from metering.wallet_status"
            " where customer = %s and currency = 'EUR'",
            customer,
        )
    )


def deposit(db: Db, amount: int, customer: str = "acme", **more: Any) -> int:
    """Euros, in cents; the id of the entry."""
    (found,) = row(
        db,
        "select metering.deposit(%s, 'EUR', %s, %s)",
        customer,
        amount,
        more.get("reference"),
    )
    return int(found)


def order(db: Db, job_type: str = "picture", customer: str = "acme", **columns: Any) -> UUID:
    """A job of a customer."""
    return insert(db, job_type, headers={"customer": customer}, **columns)


def entries(db: Db, customer: str = "acme") -> list[tuple[str, int]]:
    """Kind and amount, oldest first."""
    return db.execute(
        "select kind, amount from metering.wallet_statement where customer = %s order by id",
        (customer,),
    ).fetchall()
