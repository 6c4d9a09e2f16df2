"""Money under load: no deadlock, never negative, balance = entries, pending = reservations."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

import workers.metering
from pgqueue.migrate_app import migrate_app
from tests.races.test_load import Actor, _call, _on_a_job
from tests.support.sqljobs import claim, claim_this, column, insert, report, status, value, worker
from tests.workers.metering.money import Wallet, deposit, order, wallet

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from tests.races.conftest import Open
    from tests.races.sessions import Sessions
    from tests.support.sqljobs import Db

_CUSTOMERS = ["acme", "zoo", "moon"]
# Poor customers, answers about jobs that moved, parents that retention has removed (23503), killed
# sessions. No deadlock.
_EXPECTED = {"PQ009", "PQ001", "PQ002", "PQ003", "PQ004", "23503", "57P01", None}
_OUTCOMES: list[dict[str, Any] | None] = [
    None,
    None,
    {"errors": [{"code": "x"}]},
    {"do": "fail", "retry_after_seconds": 0},
    {"do": "fail", "retryable": False},
    {"do": "snooze", "delay_seconds": 0.001},
    {"do": "release"},
    {"do": "cancel"},
]


@pytest.fixture
def shop(dsn: str, db: Db) -> Db:
    """Three customers; a picture costs 30 cents and is refused, a film waits for its 100."""
    migrate_app(workers.metering.__name__, dsn)
    for customer in _CUSTOMERS:
        db.execute("select metering.set_customer(%s)", (customer,))
    db.execute(
        """select metering.set_price('picture', 30, 'EUR'),
            metering.set_price('film', 100, 'EUR', 'hold'),
            pgqueue.set_settings(p_retention => '1 s', p_backoff_base => '1 ms')"""
    )
    return db


def _problems(db: Db) -> list[tuple[Any, ...]]:
    return db.execute(
        "select problem, customer, job_id, detail from metering.verify()"
        " union all select problem, null, job_id, detail from pgqueue.verify()"
    ).fetchall()


@dataclass(slots=True)
class _Spender(Actor):
    """An actor whose session may be killed: it goes on with another one."""

    open_session: Open | None = None

    def run(self, actions: list[Callable[[Actor], object]]) -> Counter[str | None]:
        for _ in range(60):
            try:
                self.draw.choice(actions)(self)
            except psycopg.Error as error:
                self.codes[error.sqlstate or "57P01"] += 1
            else:
                self.codes[None] += 1
            if self.db.closed and self.open_session is not None:
                self.db = self.open_session()
        return self.codes


def _order_many(actor: Actor) -> None:
    """Several jobs of several customers by one statement: wallets are locked in order."""
    actor.db.execute(
        """insert into pgqueue.jobs (job_type, headers, run_at, max_attempts)
        select o.job_type, jsonb_build_object('customer', o.customer), null, 2
        from unnest(%s::text[], %s::text[]) as o (job_type, customer)""",
        (
            actor.draw.choices(["picture", "film", "free"], k=4),
            actor.draw.choices(_CUSTOMERS, k=4),
        ),
    )


def _order_child(actor: Actor) -> None:
    parent = actor.a_job()
    if parent is not None:
        order(actor.db, "picture", actor.draw.choice(_CUSTOMERS), depends_on=(parent,))


def _deposit(actor: Actor) -> None:
    deposit(actor.db, actor.draw.randrange(1, 200), actor.draw.choice(_CUSTOMERS))


def _work(actor: Actor) -> None:
    by = worker(actor.db)
    jobs = claim(actor.db, by, actor.draw.randrange(1, 12))
    fate = actor.draw.random()
    if fate < 0.1:
        actor.db.execute("select pgqueue.stop_worker(%s)", (by,))
    elif fate < 0.2:
        query = "update pgqueue.workers set heartbeat_at = '2001-01-01' where id = %s"
        actor.db.execute(query, (by,))
    actor.draw.shuffle(jobs)
    report(actor.db, jobs, [actor.draw.choice(_OUTCOMES) for _ in jobs])


def _look(actor: Actor) -> None:
    assert _problems(actor.db) == []


def _kill(actor: Actor) -> None:
    """Somebody's session, in the middle of whatever it does."""
    actor.db.execute(
        """select pg_terminate_backend(a.pid) from pg_stat_activity a
        where a.datname = current_database() and a.state = 'active' and a.pid <> pg_backend_pid()
            and a.query not like '%%verify%%'
        order by random() limit 1"""
    )


_PRODUCERS: list[Callable[[Actor], object]] = [_order_many, _order_many, _order_child, _deposit]
_WORKERS: list[Callable[[Actor], object]] = [_work]
_OTHERS: list[list[Callable[[Actor], object]]] = [
    [
        _on_a_job("select pgqueue.cancel(%(id)s)"),
        _on_a_job("select pgqueue.retry(%(id)s)"),
        _call("select pgqueue.redrive(p_limit => 10)"),
        _call("select pgqueue.purge_queue('default', 3)"),
    ],
    [_call("select pgqueue.maintain(20)"), _call("select pgqueue.rescue(5)")],
    [_look],
    [_kill],
]


def test_random_load_neither_deadlocks_nor_loses_a_cent(
    shop: Db, open_session: Open, sessions: Sessions
) -> None:
    """Eight producers and eight workers on three wallets, killed, rescued, retried."""
    seed = random.randrange(2**32)  # noqa: S311
    for customer in _CUSTOMERS:
        deposit(shop, 2_000, customer)
    kinds = [*[_PRODUCERS] * 8, *[_WORKERS] * 8, *_OTHERS]
    actors = [
        _Spender(open_session(), random.Random(f"{seed} {n}"), open_session=open_session)  # noqa: S311
        for n in range(len(kinds))
    ]
    counts = sessions.together(
        [partial(actor.run, kind) for actor, kind in zip(actors, kinds, strict=True)]
    )
    codes: Counter[str | None] = sum(counts, Counter())
    charges = value(shop, "select count(*) from metering.wallet_entries where amount < 0")

    assert set(codes) - _EXPECTED == set(), f"seed {seed}: {codes}"
    assert charges > 50, f"seed {seed}: {codes}"
    assert _problems(shop) == [], f"seed {seed}"
    assert _drained(shop) == 0, f"seed {seed}"
    assert [wallet(shop, one).pending for one in _CUSTOMERS] == [0, 0, 0], f"seed {seed}"
    assert _problems(shop) == [], f"seed {seed}"


def _drained(db: Db) -> int:
    """Pay for everything and bring it to its end; how many jobs are left over."""
    for customer in _CUSTOMERS:
        deposit(db, 1_000_000, customer)
    db.execute("update pgqueue.workers set heartbeat_at = '2001-01-01' where stopped_at is null")
    for _ in range(20):
        db.execute("update pgqueue.scheduled set due_at = '2001-01-01'")
        db.execute("select pgqueue.maintain()")
        report(db, claim(db, worker(db), 1000))
    return int(
        value(
            db,
            """select count(*) from pgqueue.jobs j
               where not exists (select from pgqueue.finished f where f.job_id = j.id)""",
        )
    )


def _job(db: Db, **columns: Any) -> tuple[UUID, int]:
    return claim_this(db, order(db, **columns)).owned


def _after(call: str, prepare: Callable[[Db], tuple[Any, ...]]) -> Callable[[Db], tuple[Any, ...]]:
    """Prepare by a call; what is done next needs no values."""

    def prepared(db: Db) -> tuple[Any, ...]:
        db.execute(call, prepare(db))
        return ()

    return prepared


# What is done -> how it is prepared: values for it.
_STEPS: dict[str, Callable[[Db], tuple[Any, ...]]] = {
    """insert into pgqueue.jobs (id, job_type, headers)
       values (%s, 'picture', '{"customer": "acme"}') on conflict do nothing""": lambda db: (
        value(db, "select gen_random_uuid()"),
    ),
    "select pgqueue.complete(%s, %s)": _job,
    "select pgqueue.fail(%s, %s, null, false)": _job,
    "select pgqueue.fail(%s, %s)": _job,
    "select pgqueue.cancel_running(%s, %s)": _job,
    "select * from pgqueue.report(array[%s]::uuid[], array[%s]::bigint[])": _job,
    "select pgqueue.cancel(%s)": lambda db: (order(db),),
    "select pgqueue.redrive()": _after("select pgqueue.fail(%s, %s, null, false)", _job),
    "select metering.deposit('acme', 'EUR', 40, 'pay_1')": lambda _: (),
    "select metering.adjust('acme', 'EUR', -40, 'n', 'adj_1')": lambda _: (),
    "select * from pgqueue.maintain()": _after("select %s::uuid", lambda db: (order(db, "film"),)),
}


@pytest.mark.parametrize("step", _STEPS, ids=lambda step: " ".join(step.split()[:3]))
def test_a_step_that_is_lost_or_repeated_costs_nothing(
    shop: Db, open_session: Open, step: str
) -> None:
    """Died before its commit: nothing has happened. Its answer was lost: it is repeated."""
    deposit(shop, 90)
    values = _STEPS[step](shop)
    before = wallet(shop)
    lost = open_session().cursor()
    lost.execute("begin")
    lost.execute(step, values)
    shop.execute("select pg_terminate_backend(%s, 5000)", (lost.connection.info.backend_pid,))
    after_loss = (wallet(shop), _problems(shop))
    shop.execute(step, values)
    once = wallet(shop)
    shop.execute(step, values)

    assert after_loss == (before, [])
    assert (wallet(shop), _problems(shop)) == (once, [])


def test_two_inserts_of_one_customer_never_spend_the_same_money(
    shop: Db, open_session: Open, sessions: Sessions
) -> None:
    """The second waits for the first to commit, and is refused; for it to roll back, and goes."""
    deposit(shop, 50)
    first = open_session.transaction()
    results = []
    statement = """insert into pgqueue.jobs (job_type, headers)
        values ('picture', '{"customer": "acme"}')"""
    for end in (first.rollback, first.commit):
        order(first)
        pending = sessions.start(open_session(), statement)
        pending.blocked()
        end()
        results.append(pending.sqlstate())
        shop.execute("select pgqueue.purge_queue('default')")

    assert results == [None, "PQ009"]


@pytest.mark.parametrize("isolation", ["repeatable read", "serializable"])
def test_an_old_snapshot_cannot_spend_what_is_gone(
    shop: Db, open_session: Open, isolation: str
) -> None:
    """40001: the transaction tries again, and is refused."""
    deposit(shop, 50)
    shop.execute("select pgqueue.maintain()")
    old = open_session()
    old.execute(f"begin isolation level {isolation}")
    old.execute("select count(*) from metering.wallets")
    order(shop)
    with pytest.raises(psycopg.Error) as caught:
        order(old)

    assert caught.value.sqlstate == "40001"
    assert wallet(shop) == Wallet(50, 30, 20)


def test_a_price_that_is_removed_beside_an_insert_leaves_no_money_locked(
    shop: Db, open_session: Open
) -> None:
    """Nobody sees yet what the open INSERT has reserved; its job is charged for all the same."""
    deposit(shop, 100)
    producer = open_session.transaction()
    job_id = order(producer)
    shop.execute("select metering.remove_price('picture')")
    producer.commit()
    shop.execute("select pgqueue.complete(%s, %s)", claim_this(shop, job_id).owned)

    assert wallet(shop) == Wallet(70, 0, 70)
    assert _problems(shop) == []


def test_ends_and_deposits_wait_for_no_insert(shop: Db, open_session: Open) -> None:
    """A producer keeps its transaction open; reports in any order, and a deposit, pass."""
    deposit(shop, 1_000)
    deposit(shop, 1_000, "zoo")
    jobs = [claim_this(shop, order(shop, customer=one)) for one in ("acme", "zoo", "acme")]
    cancelled = order(shop)
    producer = open_session.transaction()
    order(producer)
    order(producer, customer="zoo")
    shop.execute("set lock_timeout = '1s'")
    report(shop, jobs[::-1], [None, {"do": "fail", "retryable": False}, None])
    shop.execute("select pgqueue.cancel(%s)", (cancelled,))
    deposit(shop, 10)
    shop.execute("select pgqueue.maintain()")
    producer.rollback()

    assert (wallet(shop), wallet(shop, "zoo")) == (Wallet(950, 0, 950), Wallet(1_000, 0, 1_000))


def test_a_deposit_leaves_a_job_that_is_being_cancelled(shop: Db, open_session: Open) -> None:
    """It goes to the next one; if the cancellation is rolled back, the first has the next money."""
    first, second = order(shop, "film"), order(shop, "film")
    canceller = open_session.transaction()
    canceller.execute("select pgqueue.cancel(%s)", (first,))
    shop.execute("set lock_timeout = '1s'")
    deposit(shop, 200)
    meanwhile = (status(shop, second), wallet(shop))
    canceller.rollback()
    shop.execute("select pgqueue.maintain()")

    assert meanwhile == ("queued", Wallet(200, 100, 100))
    assert status(shop, first) == "queued"
    assert _problems(shop) == []


def test_a_deposit_leaves_a_job_whose_child_is_being_inserted(
    shop: Db, open_session: Open, sessions: Sessions
) -> None:
    """That INSERT wants the wallet next: waiting for it would be a deadlock."""
    film = order(shop, "film")
    producer, payer = open_session.transaction(), open_session.transaction()
    insert(producer, "free", depends_on=(film,))
    payer.execute("set lock_timeout = '1s'")
    deposit(payer, 200)
    ordering = sessions.start(
        producer,
        """insert into pgqueue.jobs (job_type, headers)
        values ('picture', '{"customer": "acme"}')""",
    ).blocked()
    payer.commit()
    refused = ordering.sqlstate()
    producer.commit()
    shop.execute("select pgqueue.maintain()")

    assert refused is None
    assert status(shop, film) == "queued"
    assert _problems(shop) == []


def test_a_free_job_takes_no_lock(shop: Db, open_session: Open) -> None:
    """Types without a price pass a producer whose transaction holds every wallet."""
    for customer in _CUSTOMERS:
        deposit(shop, 100, customer)
    holder = open_session.transaction()
    holder.execute("select from metering.wallets for update")
    shop.execute("set lock_timeout = '1s'")
    insert(shop, "free", headers={"customer": "acme"})
    report(shop, claim(shop, worker(shop)))
    holder.rollback()

    assert column(shop, "select status from pgqueue.finished") == ["succeeded"]
