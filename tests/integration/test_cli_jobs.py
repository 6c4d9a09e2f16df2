from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.cli import Cli
from tests.support.sqljobs import value

if TYPE_CHECKING:
    import psycopg

    Db = psycopg.Connection[Any]

NOBODY = uuid.UUID(int=1)


@pytest.fixture
def cli(dsn: str) -> Cli:
    """The command line on the test's database."""
    return Cli(dsn)


def run_one(db: Db, *, outcome: str | None = None, queue: str = "default") -> str:
    """Claim one job as a worker would, and report its outcome; its id."""
    worker = value(db, "select pgqueue.register_worker('w', %s)", [queue])
    row = db.execute("select * from pgqueue.claim(%s, %s)", (worker, [queue])).fetchone()
    assert row is not None
    db.execute("select * from pgqueue.report(%s, %s, %s)", ([row[0]], [row[1]], [outcome]))
    db.execute("select pgqueue.stop_worker(%s)", (worker,))
    return str(row[0])


FAILED = json.dumps(
    {"do": "fail", "retryable": False, "error": {"code": "no_file", "message": "gone\x1b[2J"}}
)


def test_enqueue_prints_the_id_of_a_job_that_is_there(cli: Cli, db: Db) -> None:
    """The id alone, so that `$(pgqueue enqueue ...)` works."""
    job_id = cli.text("enqueue", "import", '{"n": 1}', "--priority", "high").strip()

    row = db.execute("select job_type, payload, priority from pgqueue.jobs").fetchone()
    assert row == ("import", {"n": 1}, 0)
    assert str(uuid.UUID(job_id)) == job_id


def test_a_payload_arrives_exactly(cli: Cli, db: Db) -> None:
    """1.10 stays 1.10: the text goes to the server as it is."""
    text = '{"price": 1.10, "n": 123456789012345678901234567890.5}'
    cli.text("enqueue", "import", "-", stdin=text)

    row = db.execute("select payload::text from pgqueue.jobs").fetchone()
    assert row is not None
    assert "1.10" in row[0]
    assert "123456789012345678901234567890.5" in row[0]


def test_every_option_of_enqueue_reaches_its_column(cli: Cli, db: Db) -> None:
    """One job that says everything."""
    job_id = uuid.uuid4()
    cli.text(
        *("enqueue", "import", "--queue", "q", "--run-at", "2031-01-01T00:00+00:00"),
        *("--expires-at", "2032-01-01T00:00+00:00", "--max-attempts", "7", "--timeout", "90s"),
        *("--unique-key", "u", "--idempotency-key", "i", "--tenant", "t", "--header", "a=b=c"),
        *("--id", job_id),
    )

    row = db.execute(
        "select id, queue, extract(year from run_at at time zone 'utc')::int,"
        " extract(year from expires_at at time zone 'utc')::int, max_attempts,"
        " extract(epoch from timeout)::int, unique_key, idempotency_key, tenant_id, headers"
        " from pgqueue.jobs"
    ).fetchone()
    assert row == (job_id, "q", 2031, 2032, 7, 90, "u", "i", "t", {"a": "b=c"})


def test_a_delay_counts_from_now(cli: Cli, db: Db) -> None:
    """By the server's clock."""
    cli.text("enqueue", "import", "--delay", "1h30m")

    row = db.execute("select extract(epoch from due_at - now()) from pgqueue.scheduled").fetchone()
    assert row is not None
    assert 5_300 < row[0] < 5_401


def test_a_duplicate_is_served_by_the_job_that_is_there(cli: Cli, db: Db) -> None:
    """Same id twice; replace changes the payload."""
    first = cli.data("enqueue", "t", '{"v": 1}', "--unique-key", "k")["id"]
    again = cli.data("enqueue", "t", '{"v": 2}', "--unique-key", "k", "--on-duplicate", "replace")

    assert again["id"] == first
    assert db.execute("select payload from pgqueue.jobs").fetchall() == [({"v": 2},)]


@pytest.mark.parametrize(
    ("words", "exit_code", "said"),
    [
        (["t", "[1]"], 2, "not a JSON object"),
        (["t", "{", "--json"], 2, "not JSON"),
        (["t", "{}", "--delay", "soon"], 2, "no duration"),
        (["t", "{}", "--delay", "1m", "--run-at", "2031-01-01"], 2, "not both"),
        (["t", "{}", "--header", "x"], 2, "NAME=VALUE"),
        (["t" * 101], 9, "job_type must have 1 to 100 characters"),
        (["t", '{"a": "\\u0000"}'], 9, r"a NUL character (\u0000)"),
        (["t", '{"a": 1e131072}'], 9, "numeric"),
        (["t", "{}", "--on-duplicate", "drop"], 2, "on-duplicate"),
        ([], 2, "TYPE"),
    ],
)
def test_what_cannot_be_a_job_is_refused(
    cli: Cli, db: Db, words: list[str], exit_code: int, said: str
) -> None:
    """2 for usage, 9 for what cannot be stored; told on stderr, nothing on stdout, no job."""
    result = cli("enqueue", *words)

    assert (result.exit_code, result.stdout) == (exit_code, "")
    assert said.lower() in result.stderr.lower()
    assert db.execute("select count(*) from pgqueue.jobs").fetchone() == (0,)


def test_many_lines_become_many_jobs_in_their_order(cli: Cli, db: Db) -> None:
    """More than one chunk; empty lines do not count."""
    lines = [json.dumps({"job_type": "t", "payload": {"n": n}}) for n in range(2_500)]

    told = cli.data("enqueue", "--many", "-", stdin="\n\n".join(lines))

    assert told == {"lines": 2_500, "inserted": 2_500, "duplicates": 0}
    rows = db.execute("select (payload ->> 'n')::int from pgqueue.jobs order by id").fetchall()
    assert len(rows) == 2_500


def test_payloads_of_one_type_take_the_options(cli: Cli, db: Db) -> None:
    """TYPE with --many: each line is a payload; numbers stay exact."""
    cli.text("enqueue", "t", "--many", "-", "--priority", "bulk", stdin='{"p": 1.10}\n{"p": 2}\n')

    rows = db.execute("select payload::text, priority from pgqueue.jobs order by 1").fetchall()
    assert rows == [('{"p": 1.10}', 3), ('{"p": 2}', 3)]


def test_duplicates_among_many_are_counted(cli: Cli) -> None:
    """Those whose key a job already has."""
    line = '{"job_type": "t", "unique_key": "k"}\n'

    told = cli.data("enqueue", "--many", "-", stdin=line * 3)

    assert told == {"lines": 3, "inserted": 1, "duplicates": 2}


def test_a_bad_line_is_named_and_the_chunks_before_stay(cli: Cli, db: Db) -> None:
    """A chunk goes in whole or not at all; the hint says how many are in."""
    lines = ['{"job_type": "t"}'] * 1_500 + ["nonsense"]

    result = cli("enqueue", "--many", "-", stdin="\n".join(lines))

    assert result.exit_code == 2
    assert "line 1501: not JSON" in result.stderr
    assert "1,000 jobs" in result.stderr
    assert db.execute("select count(*) from pgqueue.jobs").fetchone() == (1_000,)


def test_a_line_that_the_server_refuses_ends_it(cli: Cli, db: Db) -> None:
    """The chunk is named by its first line."""
    result = cli("enqueue", "--many", "-", stdin='{"job_type": "t", "priority": 9}\n')

    assert result.exit_code == 9
    assert "lines from 1 on" in result.stderr
    assert "jobs_priority_check" in result.stderr


def test_status_shows_where_a_job_stands_and_why(cli: Cli) -> None:
    """For people and for programs."""
    job_id = cli.text("enqueue", "import", "--delay", "1h").strip()

    data = cli.data("status", job_id)

    assert data["id"] == job_id
    assert data["status"] == "scheduled"
    assert data["why_waiting"]
    assert "why " in cli.text("status", job_id)
    assert cli.text("jobs", "show", job_id) == cli.text("status", job_id)


def test_a_finished_job_shows_its_result(cli: Cli, db: Db) -> None:
    """`jobs result` prints the JSON alone; finished jobs do not wait."""
    cli.text("enqueue", "import")
    job_id = run_one(db, outcome='{"result": {"rows": 3}}')

    assert json.loads(cli.text("jobs", "result", job_id)) == {"rows": 3}
    assert cli.data("status", job_id)["why_waiting"] is None
    assert "succeeded" in cli.text("status", job_id)


def test_a_failed_job_shows_its_error_without_its_escapes(cli: Cli, db: Db) -> None:
    """What a handler wrote cannot clear the terminal."""
    cli.text("enqueue", "import")
    job_id = run_one(db, outcome=FAILED)

    for text in (cli.text("status", job_id), cli.text("failed", "list")):
        assert "no_file" in text
        assert "\x1b" not in text


@pytest.mark.parametrize(
    "words", [["status"], ["jobs", "show"], ["jobs", "timeline"], ["jobs", "result"]]
)
def test_no_such_job_is_exit_code_3(cli: Cli, words: list[str]) -> None:
    """With a message that names it, and no output."""
    result = cli(*words, NOBODY)

    assert (result.exit_code, result.stdout) == (3, "")
    assert str(NOBODY) in result.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["status", NOBODY],
        ["jobs", "show", NOBODY],
        ["jobs", "cancel", NOBODY],
        ["jobs", "retry", NOBODY],
        ["jobs", "reschedule", NOBODY],
        ["jobs", "reprioritise", NOBODY, "high"],
    ],
    ids=lambda words: " ".join(map(str, words[:-1])),
)
def test_the_hint_has_a_line_of_its_own(cli: Cli, words: list[object]) -> None:
    """Whichever command refuses: what was wrong, then what to do."""
    error, hint = cli(*words).stderr.splitlines()

    assert error == f"Error: job {NOBODY} does not exist"
    assert hint.startswith("Hint: It may have been removed by retention")


def test_the_refusals_of_several_jobs_are_members_with_their_hints(cli: Cli) -> None:
    """As in the error object of a command that ends with one."""
    (refused,) = json.loads(cli("jobs", "cancel", NOBODY, "--json").stdout)

    assert refused["message"] == f"job {NOBODY} does not exist"
    assert refused["hint"].startswith("It may have been removed by retention")


def test_with_json_errors_are_json_too(cli: Cli) -> None:
    """One object on stderr; stdout stays empty."""
    result = cli("status", NOBODY, "--json")

    assert result.stdout == ""
    assert json.loads(result.stderr)["error"]["code"] == "job_not_found"


def test_jobs_list_filters(cli: Cli, db: Db) -> None:
    """By status, type, queue and tenant; the newest first."""
    for name, queue in (("a", "q1"), ("b", "q1"), ("c", "q2")):
        cli.text("enqueue", name, "--queue", queue, "--tenant", f"t-{name}")
    run_one(db, outcome=FAILED, queue="q2")

    def names(*words: str) -> list[str]:
        return [job["job_type"] for job in cli.data("jobs", "list", *words)]

    assert names() == ["c", "b", "a"]
    assert names("--limit", "1") == ["c"]
    assert names("--queue", "q1") == ["b", "a"]
    assert names("--type", "b") == ["b"]
    assert names("--tenant", "t-a") == ["a"]
    assert names("--status", "failed") == ["c"]
    assert names("--status", "failed", "--tenant", "t-a") == []
    assert names("--status", "failed", "--status", "queued", "--queue", "q1") == ["b", "a"]
    assert names("--status", "running") == []


def test_an_empty_list_is_an_empty_array(cli: Cli) -> None:
    """Programs get []; people a word on stderr."""
    result = cli("jobs", "list")

    assert cli.data("jobs", "list") == []
    assert (result.stdout, result.stderr) == ("", "No jobs.\n")


def test_cancel_goes_on_after_a_job_that_refuses(cli: Cli) -> None:
    """Every other id is done; the exit code is that of the first refusal."""
    job_id = cli.text("enqueue", "import").strip()

    result = cli("jobs", "cancel", NOBODY, job_id, "--reason", "wrong file", "--json")

    refused, done = json.loads(result.stdout)
    assert result.exit_code == 3
    assert refused["error"] == "job_not_found"
    assert done == {"job_id": job_id, "status": "cancelled"}
    assert cli.data("status", job_id)["reason"] == "wrong file"


def test_a_running_job_is_asked_to_stop(cli: Cli, db: Db) -> None:
    """Its status stays one of the nine; that it was asked is said beside it."""
    job_id = cli.text("enqueue", "import").strip()
    worker = value(db, "select pgqueue.register_worker('w', '{default}')")
    db.execute("select pgqueue.claim(%s, '{default}')", (worker,))

    assert cli.data("jobs", "cancel", job_id) == [
        {"job_id": job_id, "status": "running", "cancel_requested": True}
    ]
    assert cli.text("jobs", "cancel", job_id) == f"{job_id} running, asked to stop\n"


def test_a_finished_job_cannot_be_cancelled_but_retried(cli: Cli, db: Db) -> None:
    """Exit code 4 for what its status does not allow."""
    cli.text("enqueue", "import")
    job_id = run_one(db)

    assert cli("jobs", "cancel", job_id).exit_code == 4
    assert cli("jobs", "retry", job_id).exit_code == 0
    assert cli.data("status", job_id)["status"] == "queued"
    assert cli.data("jobs", "timeline", job_id)[0]["event"] == "created"


def test_waiting_jobs_can_be_moved(cli: Cli) -> None:
    """In time, and in priority."""
    job_id = cli.text("enqueue", "import").strip()

    (moved,) = cli.data("jobs", "reschedule", job_id, "--delay", "1h")
    assert sorted(moved) == ["job_id", "run_at"]
    assert cli.data("status", job_id)["status"] == "scheduled"
    cli.text("jobs", "reschedule", job_id)
    assert cli.data("status", job_id)["status"] == "queued"
    cli.text("jobs", "reprioritise", job_id, "bulk")

    assert cli.data("status", job_id)["priority"] == 3


def test_waiting_for_a_job_ends_with_its_status(cli: Cli, db: Db) -> None:
    """0 for one that succeeded, 1 for one that failed, 8 when it takes too long."""
    cli.text("enqueue", "import", "--idempotency-key", "good")
    run_one(db, outcome='{"result": 7}')
    cli.text("enqueue", "import", "--idempotency-key", "bad")
    run_one(db, outcome=FAILED)

    good = cli("enqueue", "import", "--idempotency-key", "good", "--wait", "--json")
    bad = cli("enqueue", "import", "--idempotency-key", "bad", "--wait")
    late = cli("enqueue", "import", "--wait", "--wait-timeout", "50ms")

    assert (good.exit_code, json.loads(good.stdout)["result"]) == (0, 7)
    assert bad.exit_code == 1
    assert "no_file" in bad.stdout
    assert late.exit_code == 8
