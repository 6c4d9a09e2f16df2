"""Callbacks as far as SQL makes them: the delivery, its body, its signature, its secrets."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import TYPE_CHECKING, Any

import pytest

from pgqueue.callback import jobs as callbacks
from tests.support.sqljobs import (
    claim,
    claim_this,
    column,
    insert,
    place,
    refused,
    report,
    row,
    run_one,
    sqlstate_of,
    status,
    value,
    worker,
)

if TYPE_CHECKING:
    from uuid import UUID

    from tests.conftest import Connect
    from tests.support.sqljobs import Claimed, Db

_URL = "https://hooks.example.com/jobs"
_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def _finished(db: Db, outcome: object = None, **columns: Any) -> Claimed:
    job = run_one(db, **{"callback_url": _URL, **columns})
    report(db, [job], [outcome])
    return job


def _delivery(db: Db, job_id: UUID) -> Any:
    return value(db, "select id from pgqueue.jobs where callback_of = %s", job_id)


def _body(db: Db, job_id: UUID) -> Any:
    payload = value(db, "select payload from pgqueue.jobs where callback_of = %s", job_id)
    return json.loads(payload["body"])


def test_a_finished_job_becomes_a_delivery(db: Db) -> None:
    """A job like any other, in a queue that only workers with --callbacks listen to."""
    job = _finished(db, {"result": {"n": 10.50}}, idempotency_key="order-7")
    found = row(
        db,
        "select job_type, queue, max_attempts from pgqueue.job_status where id = %s",
        _delivery(db, job.job_id),
    )
    body = _body(db, job.job_id)

    assert found == ("pgqueue.callback", "callbacks", 12)
    assert body["type"] == "job.succeeded"
    assert body["data"] == {
        "id": str(job.job_id),
        "job_type": "t",
        "status": "succeeded",
        "attempt": 1,
        "idempotency_key": "order-7",
        "result": {"n": 10.50},
        "result_url": None,
        "errors": [],
        "reason": None,
    }


def test_a_delivery_belongs_to_the_jobs_tenant_and_trace(db: Db) -> None:
    """Nothing else of the headers goes out."""
    headers = {"traceparent": "00-a-b-01", "tracestate": "c=d", "cookie": "secret"}
    job = _finished(db, tenant_id="x", headers=headers)

    assert row(
        db, "select tenant_id, headers from pgqueue.jobs where callback_of = %s", job.job_id
    ) == ("x", {"traceparent": "00-a-b-01", "tracestate": "c=d"})


@pytest.mark.parametrize("part", ["result", "errors"])
@pytest.mark.parametrize(
    "huge",
    ["repeat(md5(random()::text), 3000)", "'1e131071'::jsonb"],
    ids=["stored", "printed"],
)
def test_what_is_too_large_for_a_callback_is_left_out(db: Db, part: str, huge: str) -> None:
    """The job finishes nevertheless; the receiver asks for it."""
    job = run_one(db, callback_url=_URL)
    made = f"jsonb_build_array({huge})"
    db.execute(
        f"select pgqueue.complete(%s, %s, p_{part} => {made})",
        job.owned,
    )

    assert status(db, job.job_id) in {"succeeded", "partial"}
    assert _body(db, job.job_id)["data"][part] in ([], None)


def test_jobs_finish_when_callbacks_are_disabled(db: Db) -> None:
    """An operator stops all callbacks; strict mode does not."""
    db.execute("select pgqueue.set_settings(p_strict_job_types => true)")
    db.execute("""select pgqueue.register_job_types('[{"job_type": "t"}]')""")
    told = _finished(db)
    db.execute("select pgqueue.set_job_type('pgqueue.callback', p_enabled => false)")
    quiet = _finished(db)

    assert column(db, "select callback_of from pgqueue.jobs where callback_of is not null") == [
        told.job_id
    ]
    assert place(db, quiet.job_id) == "finished"


def test_nobody_enqueues_what_pgqueue_signs(db: Db, connect: Connect) -> None:
    """A forged delivery would be signed: by no door can a producer make one."""
    producer = connect(role="pgqueue_producer")
    forged = "'pgqueue.callback'"
    attempts = {
        f"insert into pgqueue.jobs (job_type) values ({forged})": "23514",
        f"insert into pgqueue.inbox (job_type) values ({forged})": "23514",
        f"select pgqueue.enqueue({forged})": "23514",
        """select * from pgqueue.enqueue_many('[{"job_type": "pgqueue.callback"}]')""": "23514",
        f"""insert into pgqueue.jobs (job_type, callback_of)
            values ({forged}, gen_random_uuid())""": "42501",
        """select * from pgqueue.enqueue_many(
            '[{"job_type": "t", "callback_of": "0199c3a2"}]')""": "PQ006",
    }

    assert {one: sqlstate_of(producer, one) for one in attempts} == attempts


def test_hmac_is_that_of_rfc_4231(db: Db) -> None:
    """Against Python's own, with keys below, at and above the block size."""
    for length in (1, 20, 63, 64, 65, 131):
        key, message = bytes(range(length)), b"what do ya want for nothing?" * length
        wanted = hmac.new(key, message, hashlib.sha256).digest()

        assert value(db, "select pgqueue.hmac_sha256(%b, %b)", key, message) == wanted


def test_the_signature_is_that_of_standard_webhooks(db: Db) -> None:
    """v1, HMAC-SHA256 of id.timestamp.body with the bytes after whsec_."""
    db.execute("select pgqueue.add_callback_secret('hooks.example.com', %s)", (_SECRET,))
    delivery = claim_this(db, _delivery(db, _finished(db, {"result": "ä€𝄞"}).job_id))
    url, webhook_id, timestamp, signature, body = row(
        db, "select * from pgqueue.sign_callback(%s, %s)", *delivery.owned
    )
    signed = f"{webhook_id}.{timestamp}.{body}".encode()
    key = base64.b64decode(_SECRET.removeprefix("whsec_"))
    wanted = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()

    assert (url, webhook_id) == (_URL, str(delivery.job_id))
    assert signature == f"v1,{wanted}"


def test_a_secret_is_rotated_by_a_second_one(db: Db) -> None:
    """Both sign, the newer first; the older is removed when every receiver knows the newer."""
    one = value(db, "select pgqueue.add_callback_secret('HOOKS.example.com')")
    two = value(db, "select pgqueue.add_callback_secret('hooks.example.com')")
    value(db, "select pgqueue.add_callback_secret('hooks.example.com:8443')")
    delivery = claim_this(db, _delivery(db, _finished(db).job_id))
    sign = "select webhook_signature from pgqueue.sign_callback(%s, %s)"
    both = value(db, sign, *delivery.owned).split(" ")
    older = value(db, "select min(id) from pgqueue.callback_secrets")
    removed = value(db, "select pgqueue.remove_callback_secret(%s)", older)

    assert one != two
    assert one.startswith("whsec_")
    assert len(base64.b64decode(one.removeprefix("whsec_"))) == 32
    assert len(both) == 2
    assert removed is True
    assert len(value(db, sign, *delivery.owned).split(" ")) == 1
    assert value(db, "select pgqueue.remove_callback_secret(%s)", older) is False


def test_a_host_without_a_secret_is_not_called(db: Db) -> None:
    """That is the allow-list: NULL instead of a signature."""
    value(db, "select pgqueue.add_callback_secret('example.com')")
    delivery = claim_this(db, _delivery(db, _finished(db).job_id))

    assert (
        value(db, "select webhook_signature from pgqueue.sign_callback(%s, %s)", *delivery.owned)
        is None
    )


def test_a_tenants_secret_signs_for_that_tenant_only(db: Db) -> None:
    """Tenant b cannot have its messages signed with what tenant a's receiver trusts."""
    value(db, "select pgqueue.add_callback_secret('hooks.example.com', p_tenant_id => 'a')")
    sign = "select webhook_signature is not null from pgqueue.sign_callback(%s, %s)"
    signed = {
        tenant: value(
            db,
            sign,
            *claim_this(db, _delivery(db, _finished(db, tenant_id=tenant).job_id)).owned,
        )
        for tenant in ("a", "b", None)
    }

    assert signed == {"a": True, "b": False, None: False}


def test_only_the_attempt_that_owns_a_delivery_gets_it_signed(db: Db) -> None:
    """PQ001 for a stale token, and for jobs that are no deliveries."""
    value(db, "select pgqueue.add_callback_secret('hooks.example.com')")
    ordinary = run_one(db, callback_url=_URL)
    delivery = claim_this(db, _delivery(db, _finished(db).job_id))
    sign = "select * from pgqueue.sign_callback(%s, %s)"

    assert sqlstate_of(db, sign, delivery.job_id, delivery.token - 1) == "PQ001"
    assert sqlstate_of(db, sign, *ordinary.owned) == "PQ001"
    assert sqlstate_of(db, sign, *delivery.owned) is None


@pytest.mark.parametrize("role", ["producer", "worker", "viewer", "operator"])
def test_no_role_reads_a_secret(db: Db, connect: Connect, role: str) -> None:
    """Operators add and remove them; nobody reads them."""
    value(db, "select pgqueue.add_callback_secret('hooks.example.com')")
    own = connect(role=f"pgqueue_{role}")

    assert sqlstate_of(own, "select secret from pgqueue.callback_secrets") == "42501"
    assert sqlstate_of(own, "select * from pgqueue.callback_secrets") == "42501"


@pytest.mark.parametrize(
    "arguments",
    [
        "'https://hooks.example.com'",
        "'a b'",
        "''",
        "null",
        "'a.example', 'whsec_short'",
        "'a.example', 'not a secret that is long enough to be one at all'",
        "'a.example', 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwx'",
    ],
)
def test_bad_secrets_and_hosts_are_refused_without_being_quoted(db: Db, arguments: str) -> None:
    """PQ006; what might be a secret does not get into a log."""
    with refused("PQ006"):
        db.execute(f"select pgqueue.add_callback_secret({arguments})")


def test_a_delivery_asks_for_no_callback_itself(db: Db) -> None:
    """When it finishes, that is the end."""
    _finished(db)
    report(db, claim(db, worker(db, ["callbacks"]), queues=["callbacks"]))

    assert value(db, "select count(*) from pgqueue.jobs where callback_of is not null") == 1
    assert insert(db) is not None


def test_the_handler_declares_what_the_database_registered(db: Db) -> None:
    """Whichever comes first, a finished job or a worker with --callbacks: the same settings."""
    columns = "queue, max_attempts, timeout, backoff_base, backoff_factor, backoff_cap, description"
    settings = f"select {columns} from pgqueue.job_types where job_type = 'pgqueue.callback'"
    _finished(db)
    by_database = row(db, settings)
    with db.transaction(force_rollback=True):
        db.execute("delete from pgqueue.job_types")
        db.execute(
            "select pgqueue.register_job_types(%s)", (json.dumps(callbacks.registrations()),)
        )
        by_handler = row(db, settings)

    assert by_handler == by_database
