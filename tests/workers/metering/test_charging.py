"""What jobs do to wallets, from their insert to their end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.support.sqljobs import (
    claim,
    claim_this,
    column,
    insert,
    refused,
    report,
    sqlstate_of,
    status,
    value,
    worker,
    worker_dies,
)
from tests.workers.metering.money import Wallet, deposit, entries, order, wallet

if TYPE_CHECKING:
    from tests.support.sqljobs import Db


def test_an_insert_reserves_and_success_charges(shop: Db) -> None:
    """The charge is an entry with the job's id."""
    deposit(shop, 100)
    job_id = order(shop)
    reserved = wallet(shop)
    shop.execute("select pgqueue.complete(%s, %s)", claim_this(shop, job_id).owned)

    assert reserved == Wallet(100, 30, 70)
    assert wallet(shop) == Wallet(70, 0, 70)
    assert entries(shop) == [("deposit", 100), ("charge", -30)]
    assert column(shop, "select job_id from metering.wallet_entries where kind = 'charge'") == [
        job_id
    ]


def test_a_partial_success_is_charged_in_full(shop: Db) -> None:
    """The work was done; refund() is there for what was not."""
    deposit(shop, 100)
    job = claim_this(shop, order(shop))
    shop.execute("""select pgqueue.complete(%s, %s, p_errors => '[{"code": "c"}]')""", job.owned)

    assert wallet(shop) == Wallet(70, 0, 70)


@pytest.mark.parametrize(
    "end",
    [
        "select pgqueue.fail(%(id)s, %(token)s, null, false)",
        "select pgqueue.cancel_running(%(id)s, %(token)s)",
    ],
)
def test_a_job_that_does_not_succeed_gives_the_money_back(shop: Db, end: str) -> None:
    """No entry is made: nothing was charged."""
    deposit(shop, 100)
    job = claim_this(shop, order(shop))
    shop.execute(end, {"id": job.job_id, "token": job.token})

    assert wallet(shop) == Wallet(100, 0, 100)
    assert entries(shop) == [("deposit", 100)]


def test_a_job_that_is_cancelled_before_it_runs_gives_the_money_back(shop: Db) -> None:
    """Cancelled by hand, expired, and failed with its parent."""
    deposit(shop, 100)
    shop.execute("select pgqueue.cancel(%s)", (order(shop),))
    order(shop, expires_at="2001-01-01")
    shop.execute("select pgqueue.maintain()")
    parent = insert(shop)
    order(shop, depends_on=(parent,))
    waiting = wallet(shop)
    shop.execute("select pgqueue.cancel(%s)", (parent,))

    assert (waiting, wallet(shop)) == (Wallet(100, 30, 70), Wallet(100, 0, 100))


def test_a_job_that_fails_at_its_insert_reserves_nothing(shop: Db) -> None:
    """Its parent had failed: its end comes before it could be asked for money."""
    deposit(shop, 100)
    parent = insert(shop)
    shop.execute("select pgqueue.cancel(%s)", (parent,))
    child = order(shop, depends_on=(parent,))

    assert status(shop, child) == "failed"
    assert wallet(shop) == Wallet(100, 0, 100)


def test_retries_never_charge_twice(shop: Db) -> None:
    """Failed once, lost with its worker once, then succeeded: reserved all the time."""
    deposit(shop, 100)
    job_id = order(shop)
    shop.execute(
        "select pgqueue.fail(%s, %s, p_retry_after => '0')", claim_this(shop, job_id).owned
    )
    shop.execute("select pgqueue.promote()")
    by = worker(shop)
    claim_this(shop, job_id, by)
    worker_dies(shop, by)
    shop.execute("select pgqueue.rescue()")
    between = wallet(shop)
    job = claim_this(shop, job_id)
    for _ in range(2):
        shop.execute("select pgqueue.complete(%s, %s)", job.owned)

    assert between == Wallet(100, 30, 70)
    assert entries(shop) == [("deposit", 100), ("charge", -30)]


def test_a_finished_job_that_runs_again_reserves_again(shop: Db) -> None:
    """And is charged for again, if it succeeded before: the operator wanted the work twice."""
    deposit(shop, 100)
    failed, succeeded = order(shop), order(shop)
    shop.execute("select pgqueue.fail(%s, %s, null, false)", claim_this(shop, failed).owned)
    shop.execute("select pgqueue.complete(%s, %s)", claim_this(shop, succeeded).owned)
    shop.execute("select pgqueue.retry(%s)", (succeeded,))
    shop.execute("select pgqueue.redrive()")
    reserved = wallet(shop)
    for one in (failed, succeeded):
        shop.execute("select pgqueue.complete(%s, %s)", claim_this(shop, one).owned)

    assert reserved == Wallet(70, 60, 10)
    assert wallet(shop) == Wallet(10, 0, 10)


def test_an_insert_that_cannot_be_paid_is_refused(shop: Db) -> None:
    """PQ009 names the customer, what there is and what is needed; nothing is left of the INSERT."""
    deposit(shop, 50)
    order(shop)
    with pytest.raises(psycopg.Error) as caught:
        order(shop)

    assert caught.value.sqlstate == "PQ009"
    assert caught.value.diag.message_primary == (
        "insufficient funds: customer 'acme' has 20 EUR (minor units) available, picture needs 30"
    )
    assert wallet(shop) == Wallet(50, 30, 20)
    assert value(shop, "select count(*) from pgqueue.jobs") == 1


def test_a_statement_is_refused_as_a_whole(shop: Db) -> None:
    """Four jobs, money for three; and the other customer's with them."""
    deposit(shop, 100)
    deposit(shop, 100, "zoo")
    statement = """insert into pgqueue.jobs (job_type, headers)
        select 'picture', jsonb_build_object('customer', c)
        from unnest('{acme,acme,zoo,acme,acme}'::text[]) c"""

    assert sqlstate_of(shop, statement) == "PQ009"
    assert (wallet(shop), wallet(shop, "zoo")) == (Wallet(100, 0, 100), Wallet(100, 0, 100))


def test_money_that_came_back_can_be_spent_at_once(shop: Db) -> None:
    """The wallet's row does not know of it yet; the insert that needs it looks."""
    deposit(shop, 30)
    for _ in range(3):
        shop.execute("select pgqueue.cancel(%s)", (order(shop),))

    assert wallet(shop) == Wallet(30, 0, 30)


def test_jobs_that_wait_for_money_get_it_in_their_order(shop: Db) -> None:
    """A film is dear: three wait, and what comes in is for the first of them."""
    films = [order(shop, "film") for _ in range(3)]
    waiting = [status(shop, one) for one in films]
    deposit(shop, 150)
    one_paid = [status(shop, one) for one in films]
    deposit(shop, 50)
    two_paid = [status(shop, one) for one in films]

    assert waiting == ["blocked", "blocked", "blocked"]
    assert one_paid == ["queued", "blocked", "blocked"]
    assert two_paid == ["queued", "queued", "blocked"]
    assert wallet(shop) == Wallet(200, 200, 0)


def test_a_job_that_may_wait_does_so_behind_those_that_wait(shop: Db) -> None:
    """Though it could be paid: else a stream of cheap jobs would starve a dear one."""
    deposit(shop, 60)
    shop.execute("select metering.set_price('song', 10, 'EUR', 'hold')")
    film, song = order(shop, "film"), order(shop, "song")
    before = (status(shop, film), status(shop, song))
    deposit(shop, 50)

    assert before == ("blocked", "blocked")
    assert (status(shop, film), status(shop, song)) == ("queued", "queued")
    assert wallet(shop) == Wallet(110, 110, 0)


def test_what_fits_of_one_insert_goes_and_the_rest_waits(shop: Db) -> None:
    """Five films, money for two."""
    deposit(shop, 250)
    shop.execute(
        """insert into pgqueue.jobs (job_type, headers)
        select 'film', '{"customer": "acme"}' from generate_series(1, 5)"""
    )

    assert wallet(shop) == Wallet(250, 200, 50)
    assert value(shop, "select count(*) from pgqueue.blocked where reason = 'hook'") == 3


def test_money_that_comes_back_lets_waiting_jobs_go_by_maintenance(shop: Db) -> None:
    """Who ends a job locks no wallet: the next maintenance does it."""
    deposit(shop, 100)
    first, second = order(shop, "film"), order(shop, "film")
    shop.execute("select pgqueue.cancel(%s)", (first,))
    before = status(shop, second)
    shop.execute("select pgqueue.maintain()")

    assert (before, status(shop, second)) == ("blocked", "queued")
    assert value(shop, "select count(*) from metering.wallet_changes") == 0


def test_a_job_that_waits_for_money_can_be_cancelled(shop: Db) -> None:
    """The one behind it gets the money."""
    first, second = order(shop, "film"), order(shop, "film")
    shop.execute("select pgqueue.cancel(%s)", (first,))
    deposit(shop, 100)

    assert (status(shop, first), status(shop, second)) == ("cancelled", "queued")


def test_a_redriven_job_that_cannot_be_paid_waits(shop: Db) -> None:
    """Whatever the policy says: one customer must not stop the redrive of all."""
    deposit(shop, 30)
    deposit(shop, 30, "zoo")
    jobs = [order(shop), order(shop, customer="zoo")]
    for job_id in jobs:
        shop.execute("select pgqueue.fail(%s, %s, null, false)", claim_this(shop, job_id).owned)
    shop.execute("select metering.adjust('acme', 'EUR', -30, 'paid out')")
    redriven = value(shop, "select pgqueue.redrive()")

    assert redriven == 2
    assert [status(shop, one) for one in jobs] == ["blocked", "queued"]


def test_a_job_that_names_no_customer_does_not_stop_the_redrive_of_others(shop: Db) -> None:
    """Its type got a price after it had failed: it stays failed."""
    deposit(shop, 100)
    jobs = [insert(shop, "song"), order(shop), insert(shop, "free")]
    for job_id in jobs:
        shop.execute("select pgqueue.fail(%s, %s, null, false)", claim_this(shop, job_id).owned)
    shop.execute("select metering.set_price('song', 10, 'EUR')")
    redriven = value(shop, "select pgqueue.redrive()")

    assert redriven == 2
    assert [status(shop, one) for one in jobs] == ["failed", "queued", "queued"]
    assert wallet(shop) == Wallet(100, 30, 70)


def test_a_customers_own_policy_goes_before_the_prices(shop: Db) -> None:
    """Acme waits for pictures, too; zoo is refused films."""
    shop.execute("select metering.set_customer('acme', p_on_insufficient => 'hold')")
    shop.execute("select metering.set_customer('zoo', p_on_insufficient => 'refuse')")
    with refused("PQ009"):
        order(shop, "film", "zoo")

    assert status(shop, order(shop)) == "blocked"


def test_a_job_of_a_priced_type_must_name_a_customer(shop: Db) -> None:
    """Nobody, and somebody unknown: refused like a broken CHECK, with a name to branch on."""
    with refused("23514", constraint="metering_customer_known"):
        insert(shop, "picture")
    with refused("23514", constraint="metering_customer_known"):
        order(shop, customer="nobody")

    assert insert(shop, "free") is not None


def test_a_customer_of_a_tenant_pays_for_that_tenants_jobs_only(shop: Db) -> None:
    """Nor does one without a tenant pay for a tenant's."""
    shop.execute("select metering.set_customer('t1', p_tenant_id => 'one')")
    deposit(shop, 100, "t1")
    for customer, tenant in (("t1", "two"), ("t1", None), ("acme", "one")):
        with refused("23514", constraint="metering_customer_known"):
            order(shop, customer=customer, tenant_id=tenant)
    order(shop, customer="t1", tenant_id="one")

    assert wallet(shop, "t1") == Wallet(100, 30, 70)


@pytest.mark.parametrize(
    ("price", "constraint", "message"),
    [
        ("-1, 'EUR'", "prices_cost_check", "cost must be from 0 to 10^15 minor units, not -1"),
        (
            "1, 'euro'",
            "prices_currency_check",
            "currency must be three capital letters, as EUR, not euro",
        ),
        (
            "1, 'EUR', 'wait'",
            "prices_on_insufficient_check",
            "on_insufficient must be refuse or hold, not wait",
        ),
    ],
)
def test_a_price_that_makes_no_sense_is_refused_in_words(
    shop: Db, price: str, constraint: str, message: str
) -> None:
    """What was given, what may be, and an example; with the constraint's name."""
    with pytest.raises(psycopg.errors.CheckViolation) as caught:
        shop.execute(f"select metering.set_price('picture', {price})")
    diag = caught.value.diag

    assert (diag.constraint_name, diag.message_primary) == (constraint, message)
    assert "metering.set_price('render', 250, 'EUR')" in (diag.message_hint or "")


def test_a_new_price_is_for_new_jobs(shop: Db) -> None:
    """Those on their way keep theirs, also when the price is removed."""
    deposit(shop, 100)
    old = order(shop)
    shop.execute("select metering.set_price('picture', 50, 'EUR')")
    new = order(shop)
    shop.execute("select metering.remove_price('picture')")
    free = insert(shop, "picture")
    for one in (old, new, free):
        shop.execute("select pgqueue.complete(%s, %s)", claim_this(shop, one).owned)

    assert wallet(shop) == Wallet(20, 0, 20)


def test_a_batch_is_charged_by_one_row_per_wallet(shop: Db) -> None:
    """Forty jobs of two customers by one report: two changes, forty entries."""
    deposit(shop, 1_000)
    deposit(shop, 1_000, "zoo")
    for n in range(40):
        order(shop, customer=("acme", "zoo")[n % 2])
    shop.execute("select pgqueue.maintain()")
    report(shop, claim(shop, worker(shop)))

    assert value(shop, "select count(*) from metering.wallet_changes") == 2
    assert (wallet(shop), wallet(shop, "zoo")) == (Wallet(400, 0, 400), Wallet(400, 0, 400))
    assert len(entries(shop)) == 21


def test_a_handler_that_rolls_back_is_not_charged(shop: Db) -> None:
    """Its writes, its completion and the charge commit together or not at all."""
    deposit(shop, 100)
    job = claim_this(shop, order(shop))
    with shop.transaction(force_rollback=True):
        shop.execute("select pgqueue.complete(%s, %s)", job.owned)
        inside = wallet(shop)

    assert inside == Wallet(70, 0, 70)
    assert wallet(shop) == Wallet(100, 30, 70)
