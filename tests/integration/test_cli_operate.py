from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.test_cli_jobs import FAILED, run_one
from tests.support.cli import Cli
from tests.support.sqljobs import value
from tests.support.wait import eventually

if TYPE_CHECKING:
    import psycopg

    Db = psycopg.Connection[Any]


@pytest.fixture
def cli(dsn: str) -> Cli:
    """The command line on the test's database."""
    return Cli(dsn)


def waiting(db: Db) -> int:
    """How many jobs are ready."""
    return int(value(db, "select count(*) from pgqueue.ready"))


def test_queues_are_listed_with_their_depth(cli: Cli) -> None:
    """One row each; the table has the same numbers."""
    for queue in ("a", "a", "b"):
        cli.text("enqueue", "t", "--queue", queue)

    rows = cli.data("queues", "list")

    assert [(row["queue"], row["depth"]) for row in rows] == [("a", 2), ("b", 1)]
    assert cli.text("queues", "list").splitlines()[1].split()[:2] == ["a", "2"]


def test_private_queues_are_listed_while_they_are_in_use(cli: Cli, db: Db) -> None:
    """Each `pgqueue run` leaves one behind; a queue that is only named alike is shown."""
    private = f"run-{0xC0FFEE:016x}"
    cli.text("enqueue", "t", "--queue", private)
    cli.text("enqueue", "t", "--queue", "run-home")

    assert [row["queue"] for row in cli.data("queues", "list")] == [private, "run-home"]
    for queue in (private, "run-home"):
        run_one(db, queue=queue, outcome=FAILED)
    assert [row["queue"] for row in cli.data("queues", "list")] == ["run-home"]
    assert private not in cli.text("queues", "list")


def test_a_paused_queue_says_so_until_resumed(cli: Cli) -> None:
    """And gives the reason to who asks why a job waits."""
    job_id = cli.text("enqueue", "t", "--queue", "q").strip()
    cli.text("queues", "pause", "q", "--reason", "provider is down")

    assert "paused" in cli.text("queues", "list")
    assert "provider is down" in cli.text("status", job_id)
    cli.text("queues", "resume", "q")
    assert "paused" not in cli.text("queues", "list")


def test_purge_cancels_everything_that_waits(cli: Cli, db: Db) -> None:
    """Ready and scheduled; more than one chunk; other queues stay."""
    lines = ['{"job_type": "t", "queue": "q"}'] * 1_200
    lines += ['{"job_type": "t", "queue": "q", "delay_seconds": 900}'] * 5
    cli.text("enqueue", "--many", "-", stdin="\n".join(lines))
    cli.text("enqueue", "t", "--queue", "other")

    assert cli.data("queues", "purge", "q", "--yes") == {"queue": "q", "cancelled": 1_205}
    assert waiting(db) == 1


@pytest.mark.parametrize("answer", ["n\n", "\n", ""])
def test_purge_asks_first(cli: Cli, db: Db, answer: str) -> None:
    """No is the default, and the end of input means no."""
    cli.text("enqueue", "t")

    result = cli("queues", "purge", "default", stdin=answer)

    assert (result.exit_code, waiting(db)) == (1, 1)
    assert "Cancel 1 waiting job of queue default?" in result.stderr


def test_purge_cannot_ask_a_program(cli: Cli, db: Db) -> None:
    """With --json, --yes is required."""
    cli.text("enqueue", "t")

    assert cli("queues", "purge", "default", "--json").exit_code == 2
    assert waiting(db) == 1


def test_drain_waits_until_nothing_is_left(cli: Cli) -> None:
    """At once for an empty queue; 8 when it takes too long. Jobs for later do not count."""
    cli.text("enqueue", "t", "--queue", "later", "--delay", "1h")
    cli.text("enqueue", "t", "--queue", "full")

    assert cli("queues", "drain", "later").exit_code == 0
    late = cli("queues", "drain", "full", "--timeout", "100ms", "--json")
    assert late.exit_code == 8
    assert json.loads(late.stderr)["error"]["code"] == "wait_timeout"


def test_failed_jobs_are_redriven(cli: Cli, db: Db) -> None:
    """By type; those of other types stay failed."""
    for name in ("a", "a", "b"):
        cli.text("enqueue", name)
        run_one(db, outcome=FAILED)

    assert len(cli.data("failed", "list")) == 3
    assert [job["job_type"] for job in cli.data("failed", "list", "--type", "b")] == ["b"]
    assert cli.data("failed", "redrive", "--type", "a", "--limit", "1") == {"redriven": 1}
    assert cli.data("failed", "redrive", "--type", "a") == {"redriven": 1}
    assert [job["job_type"] for job in cli.data("failed", "list")] == ["b"]


def test_redrive_since_leaves_older_failures(cli: Cli, db: Db) -> None:
    """`--since` with a time in the future finds nothing, `--since 1h` the latest."""
    cli.text("enqueue", "a")
    run_one(db, outcome=FAILED)

    assert cli.data("failed", "redrive", "--since", "2199-01-01") == {"redriven": 0}
    assert cli.data("failed", "redrive", "--since", "1h") == {"redriven": 1}


def test_redriving_everything_must_be_said(cli: Cli) -> None:
    """Without a filter or --all it is a usage error."""
    result = cli("failed", "redrive")

    assert result.exit_code == 2
    assert "--all" in result.stderr
    assert cli("failed", "redrive", "--all").exit_code == 0


def test_workers_are_listed_and_drained(cli: Cli, db: Db) -> None:
    """Stopped ones only with --all; draining one that is gone is exit code 4."""
    worker = value(db, "select pgqueue.register_worker('w1', '{a,b}')")

    assert [row["name"] for row in cli.data("workers", "list")] == ["w1"]
    assert "a, b" in cli.text("workers", "list")
    cli.text("workers", "drain", worker)
    assert cli.data("workers", "list")[0]["status"] == "draining"
    db.execute("select pgqueue.stop_worker(%s)", (worker,))
    assert cli.data("workers", "list") == []
    assert [row["status"] for row in cli.data("workers", "list", "--all")] == ["stopped"]
    assert cli("workers", "drain", worker).exit_code == 4


def test_job_types_can_be_set_and_shown(cli: Cli, db: Db) -> None:
    """Every setting reaches its column; what is not named stays."""
    cli.text(
        *("types", "set", "t", "--disable", "--queue", "q", "--max-attempts", "3"),
        *("--timeout", "10m", "--backoff-base", "1s", "--backoff-factor", "3"),
        *("--backoff-cap", "1m", "--retention", "1d", "--description", "what it does"),
    )
    cli.text("types", "set", "t", "--max-attempts", "4", "--worker-managed")

    row = db.execute(
        "select enabled, queue, max_attempts, timeout::text, backoff_base::text, backoff_factor,"
        " backoff_cap::text, retention::text, description, operator_managed from pgqueue.job_types"
    ).fetchone()
    assert row == (
        *(False, "q", 4, "00:10:00", "00:00:01", 3.0, "00:01:00", "1 day"),
        *("what it does", False),
    )
    assert cli.data("types", "show", "t")["timeout_seconds"] == 600
    assert "10 m" in cli.text("types", "show", "t")
    assert [row["job_type"] for row in cli.data("types", "list")] == ["t"]


def test_a_disabled_type_refuses_jobs(cli: Cli) -> None:
    """Exit code 4, naming the type."""
    cli.text("types", "set", "t", "--disable")

    result = cli("enqueue", "t")

    assert result.exit_code == 4
    assert "t" in result.stderr


def test_an_unknown_type_is_not_shown(cli: Cli) -> None:
    """Exit code 3."""
    assert cli("types", "show", "nothing").exit_code == 3


def test_a_paused_type_holds_its_jobs(cli: Cli, db: Db) -> None:
    """Until it is resumed."""
    cli.text("enqueue", "t")
    cli.text("types", "pause", "t", "--reason", "rubbish")
    worker = value(db, "select pgqueue.register_worker('w')")

    assert db.execute("select * from pgqueue.claim(%s)", (worker,)).fetchall() == []
    assert "paused" in cli.text("types", "list")
    cli.text("types", "resume", "t")
    assert len(db.execute("select * from pgqueue.claim(%s)", (worker,)).fetchall()) == 1


def test_settings_are_shown_and_changed(cli: Cli) -> None:
    """What is not named stays."""
    before = cli.data("settings", "show")
    after = cli.data("settings", "set", "--strict-types", "--retention", "14d")

    assert after == before | {"strict_job_types": True, "retention": 14 * 86_400.0}
    assert cli("settings", "set").exit_code == 2
    assert cli("enqueue", "unheard-of").exit_code == 3


def test_a_setting_out_of_range_is_refused(cli: Cli) -> None:
    """In words, and by the constraint's name."""
    result = cli("types", "set", "t", "--timeout", "60d")

    assert result.exit_code == 9
    assert "timeout must be from 1 millisecond to 30 days" in result.stderr
    assert "job_types_timeout_check" in result.stderr


def test_maintain_does_one_pass(cli: Cli, db: Db) -> None:
    """A due job is promoted."""
    cli.text("enqueue", "t", "--delay", "300ms")

    eventually(lambda: cli.data("maintain")["promoted"] == 1)
    assert waiting(db) == 1


def test_verify_is_quiet_when_all_is_well(cli: Cli) -> None:
    """Exit code 0 and an empty array."""
    cli.text("enqueue", "t")

    assert cli.data("verify") == []


@pytest.mark.breaks_invariants
def test_verify_names_the_job_that_is_lost(cli: Cli, db: Db) -> None:
    """Exit code 1."""
    job_id = cli.text("enqueue", "t").strip()
    db.execute("set session_replication_role = replica")
    db.execute("delete from pgqueue.ready")

    result = cli("verify", "--json")

    assert result.exit_code == 1
    assert [row["job_id"] for row in json.loads(result.stdout)] == [job_id]


def test_migrate_installs_a_new_database_and_repeats_harmlessly(empty_dsn: str) -> None:
    """Before it, every command says what to do; a dry run changes nothing."""
    cli = Cli(empty_dsn)

    assert cli("queues", "list").exit_code == 6
    assert cli.data("migrate", "--dry-run")["found"] == 0
    assert cli("queues", "list").exit_code == 6
    assert "ran migration 0001_core" in cli.text("migrate")
    assert cli.data("queues", "list") == []
    assert cli.data("migrate")["changes"] == []


def test_the_sql_of_migrate_installs_the_same(empty_dsn: str) -> None:
    """`--sql --all` needs no database; running its text leaves no drift."""
    import psycopg  # noqa: PLC0415

    script = Cli("").text("migrate", "--sql", "--all", "--no-transaction")
    with psycopg.connect(empty_dsn) as conn:
        conn.execute(script.encode())
        drift = conn.execute("select * from pgqueue.drift()").fetchall()

    assert drift == []
    assert Cli(empty_dsn).data("queues", "list") == []


def test_health_is_a_probe(cli: Cli, db: Db) -> None:
    """One line per check; 1 when what is asked for fails."""
    cli.text("enqueue", "t")
    db.execute("select pgqueue.register_worker('w1')")

    assert cli("health", "--max-oldest-ready", "1h", "--worker", "w1").exit_code == 0
    assert cli("health", "--worker", "w2").exit_code == 1
    late = cli("health", "--max-oldest-ready", "0", "--json")
    assert late.exit_code == 1
    assert [finding["status"] for finding in json.loads(late.stdout)] == ["fail"]
    assert {"check", "status", "value", "hint"} == set(
        json.loads(cli("health", "--json").stdout)[0]
    )


def test_doctor_finds_what_somebody_changed(cli: Cli, db: Db) -> None:
    """It names the object, and the invariants are checked on demand."""
    before = {row["check"]: row["status"] for row in json.loads(cli("doctor", "--json").stdout)}
    db.execute("alter table pgqueue.ready set (fillfactor = 50)")

    after = cli("doctor", "--verify")

    assert "fail" not in {before[name] for name in before if "schema" in name}
    assert "ready" in after.stdout
    assert "invariants" in after.stdout


def test_doctor_says_what_is_missing(empty_dsn: str) -> None:
    """Without the schema: exit code 1 and the command that installs it."""
    result = Cli(empty_dsn)("doctor")

    assert result.exit_code == 1
    assert "pgqueue migrate" in result.stdout
