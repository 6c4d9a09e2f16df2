"""Two tenants on one database: neither sees, changes or can even detect what the other has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.support.sqljobs import (
    STATUSES,
    claim,
    column,
    insert,
    job_in,
    place,
    refused,
    report,
    row,
    sqlstate_of,
    value,
    worker,
)

if TYPE_CHECKING:
    from tests.security.conftest import Login
    from tests.support.sqljobs import Db

_RIGHTS = ("pgqueue_producer", "pgqueue_viewer")
_BY_JOB = ("ready", "scheduled", "blocked", "running", "finished", "attempts", "job_results")


@pytest.fixture
def a(db: Db, login: Login) -> Db:
    """A login of tenant a, with all rights that a tenant's login can have."""
    db.execute("select pgqueue.enable_tenants()")
    return login(*_RIGHTS, tenant="a")


@pytest.fixture
def b(db: Db, login: Login) -> Db:
    """A login of tenant b."""
    db.execute("select pgqueue.enable_tenants()")
    return login(*_RIGHTS, tenant="b")


def _jobs_everywhere(db: Db) -> None:
    """One job of no tenant in each status, to be given away."""
    for status in STATUSES:
        job_in(db, status)


def test_inserted_jobs_belong_to_the_logins_tenant(db: Db, a: Db, b: Db) -> None:
    """Without naming it: by INSERT, by enqueue() and enqueue_many()."""
    insert(a)
    a.execute("select pgqueue.enqueue('t')")
    a.execute("""select * from pgqueue.enqueue_many('[{"job_type": "t"}]')""")
    insert(b)

    assert column(db, "select tenant_id from pgqueue.jobs order by 1") == ["a"] * 3 + ["b"]
    assert column(a, "select tenant_id from pgqueue.jobs") == ["a"] * 3
    assert column(b, "select tenant_id from pgqueue.job_status") == ["b"]


@pytest.mark.parametrize(
    "attempt",
    [
        "insert into pgqueue.jobs (job_type, tenant_id) values ('t', 'b')",
        "insert into pgqueue.jobs (job_type, tenant_id) values ('t', null)",
        "select pgqueue.enqueue('t', p_tenant_id => 'b')",
        """select * from pgqueue.enqueue_many('[{"job_type": "t", "tenant_id": "b"}]')""",
        """select * from pgqueue.enqueue_many(
            '[{"job_type": "t", "tenant_id": "b", "unique_key": "k"}]')""",
    ],
)
def test_nobody_enqueues_for_another_tenant(db: Db, a: Db, attempt: str) -> None:
    """Nor for none: refused as a lack of rights, before anything is written."""
    with refused("42501"):
        a.execute(attempt)
    assert value(db, "select count(*) from pgqueue.jobs") == 0


def test_copy_is_refused_to_a_tenants_login(db: Db, a: Db) -> None:
    """PostgreSQL has no COPY FROM under row-level security, and says so: nothing slips past it."""
    with refused("0A000"), a.cursor().copy("copy pgqueue.jobs (job_type) from stdin"):
        pass
    assert value(db, "select count(*) from pgqueue.jobs") == 0


@pytest.mark.parametrize("table", _BY_JOB)
def test_each_table_shows_the_tenants_own_rows_only(db: Db, a: Db, b: Db, table: str) -> None:
    """Rows of a's jobs to a, nothing to b."""
    _jobs_everywhere(db)
    job = job_in(db, "running")
    outcome = {"created": [["Order", "1"]]}
    report(db, [job], [outcome])
    with db.transaction():
        db.execute("set local session_replication_role = replica")
        db.execute("update pgqueue.jobs set tenant_id = 'a'")
    everything = value(db, f"select count(*) from pgqueue.{table}")

    assert everything > 0
    assert value(a, f"select count(job_id) from pgqueue.{table}") == everything
    assert value(b, f"select count(job_id) from pgqueue.{table}") == 0


@pytest.mark.parametrize("view", ["job_status", "running_jobs", "failed_jobs"])
def test_each_view_of_jobs_shows_the_tenants_own_only(db: Db, a: Db, b: Db, view: str) -> None:
    """The views read with the caller's rights."""
    _jobs_everywhere(db)
    with db.transaction():
        db.execute("set local session_replication_role = replica")
        db.execute("update pgqueue.jobs set tenant_id = 'a'")
    everything = value(db, f"select count(*) from pgqueue.{view}")

    assert value(a, f"select count(*) from pgqueue.{view}") == everything
    assert value(b, f"select count(*) from pgqueue.{view}") == 0


def test_numbers_over_all_tenants_are_hidden(db: Db, a: Db, b: Db) -> None:
    """Depths are of one's own jobs; statistics, which know no tenants, are empty."""
    insert(a)
    insert(a, queue="only of a")
    insert(b)
    report(db, claim(db, worker(db), 1))
    query = "select queue, depth, finished_per_minute::float from pgqueue.queue_stats order by 1"

    assert a.execute(query).fetchall() == [("only of a", 1, 0.0)]
    assert b.execute(query).fetchall() == [("default", 1, 0.0)]
    assert column(b, "select finished_5_minutes from pgqueue.worker_status") == [0]
    assert column(b, "select count(*) from pgqueue.stats_recent") == [0]
    assert column(b, "select count(*) from pgqueue.tenants") == [0]
    assert [sum(column(b, "select waiting from pgqueue.unhandled"))] == [0]


def test_verify_tells_a_tenant_nothing(db: Db, a: Db) -> None:
    """It would name other tenants' jobs and keys."""
    with db.transaction():
        db.execute("set local session_replication_role = replica")
        job = value(
            db, "insert into pgqueue.jobs (job_type, tenant_id) values ('t', 'b') returning id"
        )
    found = column(a, "select job_id from pgqueue.verify()")
    seen = column(db, "select job_id from pgqueue.verify()")
    with db.transaction():
        db.execute("set local session_replication_role = replica")
        db.execute("delete from pgqueue.jobs")

    assert (found, seen) == ([], [job])


@pytest.mark.parametrize(
    "call",
    ["select pgqueue.cancel(%s)", "select pgqueue.why_waiting(%s)", "select pgqueue.retry(%s)"],
)
def test_another_tenants_job_does_not_exist(db: Db, a: Db, b: Db, call: str) -> None:
    """The same answer as for an id that nobody has: PQ003, with the same words."""
    db.execute(f"grant execute on function pgqueue.retry to {b.info.user}")
    job_id = insert(a)
    with pytest.raises(psycopg.Error) as there:
        b.execute(call, (job_id,))
    nowhere = value(db, "select gen_random_uuid()")
    with pytest.raises(psycopg.Error) as not_there:
        b.execute(call, (nowhere,))

    assert (there.value.sqlstate, not_there.value.sqlstate) == ("PQ003", "PQ003")
    assert str(there.value).replace(str(job_id), "") == str(not_there.value).replace(
        str(nowhere), ""
    )
    assert place(db, job_id) == "ready"


def test_keys_of_one_tenant_say_nothing_to_another(a: Db, b: Db) -> None:
    """Both have the same keys and neither conflicts, plainly, by ON CONFLICT or by enqueue()."""
    for one in (a, b):
        insert(one, unique_key="k", idempotency_key="i")
        again = one.execute(
            "insert into pgqueue.jobs (job_type, unique_key) values ('t', 'k')"
            " on conflict do nothing returning id"
        ).fetchall()
        served = value(one, "select pgqueue.enqueue('t', p_unique_key => 'k')")

        assert again == []
        assert [served] == column(one, "select id from pgqueue.jobs")


def test_a_duplicate_key_error_shows_no_values(a: Db) -> None:
    """DETAIL would quote the row in the way."""
    insert(a, unique_key="secret")
    with pytest.raises(psycopg.errors.UniqueViolation) as caught:
        insert(a, unique_key="secret")

    assert caught.value.diag.constraint_name == "jobs_unique_key"
    assert "secret" not in str(caught.value.diag.message_detail)


def test_a_guessed_job_id_is_taken_but_shows_nothing(a: Db, b: Db) -> None:
    """Ids are unique over all tenants: a collision is refused, and the other's row stays unseen."""
    job_id = insert(a)
    with refused("23505", constraint="jobs_pkey"):
        insert(b, id=job_id)
    with refused("23505"):
        b.execute("select pgqueue.enqueue('t', p_id => %s)", (job_id,))
    found = b.execute(
        "insert into pgqueue.jobs (id, job_type) values (%s, 't') on conflict do nothing"
        " returning id",
        (job_id,),
    ).fetchall()

    assert found == []


def test_no_function_in_a_condition_sees_another_tenants_row(a: Db, b: Db) -> None:
    """A cheap function of the attacker's own must not run before the policy."""
    insert(a, job_type="secret of a")
    b.execute(
        "create function pg_temp.spy(text) returns boolean language plpgsql cost 0.0001"
        " as $$ begin raise notice '%', $1; return true; end $$"
    )
    heard: list[str | None] = []
    b.add_notice_handler(lambda notice: heard.append(notice.message_primary))
    b.execute("select id from pgqueue.job_status where pg_temp.spy(job_type)")
    b.execute("select id from pgqueue.jobs where pg_temp.spy(job_type)")

    assert heard == []


def test_explain_counts_no_row_of_another_tenant(a: Db, b: Db) -> None:
    """EXPLAIN ANALYZE of one's own query yields rows of one's own."""
    insert(a)
    plan = "\n".join(
        column(b, "explain (analyze, timing off) select id from pgqueue.jobs where job_type = 't'")
    )

    assert "rows=0" in plan.splitlines()[0]


def test_a_setting_frees_nobody(a: Db, b: Db) -> None:
    """Confinement comes from the role; settings that anybody can set change nothing."""
    insert(a)
    for attempt in (
        "set row_security = off",
        "set pgqueue.tenant = 'a'",
        "set session_replication_role = replica",
        "set role none",
        "reset role",
        "set role pgqueue_viewer",
    ):
        sqlstate_of(b, attempt)
        found = b.execute("select 1").fetchall() and sqlstate_of(b, "select id from pgqueue.jobs")
        b.execute("set row_security = on")

        assert found in {None, "42501"}
        assert column(b, "select id from pgqueue.jobs") == []
    assert value(b, "select pgqueue.current_tenant()") == "b"


def test_an_unconfined_session_that_takes_a_confined_role_is_confined(db: Db, a: Db, b: Db) -> None:
    """As an application does that connects once and SETs ROLE per request."""
    insert(a)
    insert(b)
    db.execute(f"set role {a.info.user}")
    found = column(db, "select tenant_id from pgqueue.jobs")
    db.execute("reset role")

    assert found == ["a"]
    assert len(column(db, "select tenant_id from pgqueue.jobs")) == 2


def test_a_login_without_a_tenant_sees_all(a: Db, b: Db, login: Login) -> None:
    """Operators, workers and viewers of the whole are such."""
    insert(a)
    insert(b)
    everyone = login("pgqueue_viewer")

    assert len(column(everyone, "select id from pgqueue.job_status")) == 2


def test_workers_run_the_jobs_of_all_tenants(db: Db, a: Db, b: Db, login: Login) -> None:
    """And hear whose each is."""
    insert(a)
    insert(b)
    by = login("pgqueue_worker")
    claimed = claim(by, worker(by))

    assert [job.tenant_id for job in claimed] == ["a", "b"]
    assert value(a, "select status from pgqueue.job_status") == "running"


def test_follow_up_jobs_belong_to_the_tenant_of_their_job(db: Db, a: Db) -> None:
    """Though an unconfined worker enqueues them."""
    insert(a)
    jobs = claim(db, worker(db))
    report(db, jobs, [{"follow_ups": [{"job_type": "next"}]}])

    assert column(a, "select job_type from pgqueue.jobs order by id") == ["t", "next"]


@pytest.mark.parametrize("role", ["pgqueue_worker", "pgqueue_operator"])
def test_who_acts_on_all_tenants_cannot_be_confined(db: Db, a: Db, login: Login, role: str) -> None:
    """claim() and pause_queue() know no tenants: such a confinement would be a false promise."""
    wide = login(role)
    with refused("PQ006"):
        db.execute("select pgqueue.confine(%s, 'a')", (wide.info.user,))


def test_only_the_owner_confines(a: Db) -> None:
    """A tenant's login cannot free itself, nor can anything that a granted role may call."""
    for attempt in (
        "select pgqueue.unconfine(session_user)",
        "select pgqueue.confine(session_user, 'b')",
        "select pgqueue.disable_tenants()",
        "delete from pgqueue.tenants",
    ):
        assert sqlstate_of(a, attempt) == "42501"


def test_confining_needs_tenants_enabled_and_a_role(db: Db) -> None:
    """Otherwise it would promise what nothing enforces."""
    with refused("PQ006"):
        db.execute("select pgqueue.confine(session_user, 'a')")
    db.execute("select pgqueue.enable_tenants()")
    with refused("42704"):
        db.execute("select pgqueue.confine('nobody there', 'a')")


def test_tenants_are_not_disabled_while_somebody_is_confined(db: Db, a: Db) -> None:
    """He would see everything at once."""
    with refused("PQ006"):
        db.execute("select pgqueue.disable_tenants()")
    db.execute("select pgqueue.unconfine(%s)", (a.info.user,))
    db.execute("select pgqueue.disable_tenants()")

    assert value(db, "select count(*) from pg_policy") == 0


def test_enabling_is_repeatable_and_leaves_no_drift(db: Db) -> None:
    """Nor does disabling: the schema is what was installed."""
    seen = []
    for call in ("enable_tenants", "enable_tenants", "disable_tenants", "disable_tenants"):
        db.execute(f"select pgqueue.{call}()")
        seen.append(db.execute("select * from pgqueue.drift()").fetchall())

    assert seen == [[]] * 4


def test_without_tenants_no_table_has_row_security(db: Db) -> None:
    """Deployments without tenants pay nothing."""
    found = value(
        db,
        "select count(*) from pg_class"
        " where relnamespace = 'pgqueue'::regnamespace and relrowsecurity",
    )

    assert found == 0


def test_a_tenants_job_is_still_a_handful_of_probes(db: Db, a: Db) -> None:
    """The policy is evaluated once per query, and does not keep the index from being used."""
    with db.transaction():
        db.execute("set local session_replication_role = replica")
        db.execute(
            "insert into pgqueue.jobs (job_type, tenant_id)"
            " select 't', 'a' from generate_series(1, 20000)"
        )
        db.execute(
            "insert into pgqueue.ready (job_id, queue, priority, job_type)"
            " select id, 'default', 1, 't' from pgqueue.jobs"
        )
    job_id = row(db, "select id from pgqueue.jobs offset 10000 limit 1")[0]
    # The first of a session also reads the catalogue for current_tenant().
    (_, (plan,)) = (
        value(
            a,
            "explain (analyze, buffers, format json)"
            f" select * from pgqueue.job_status where id = '{job_id}'",
        )
        for _ in range(2)
    )

    assert plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"] < 100
