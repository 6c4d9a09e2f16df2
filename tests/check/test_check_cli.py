"""`pgqueue check`: what it prints, with what code it ends, what it compares with."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pgqueue.check import RULES, Known, Source, check_source
from tests.docs.blocks import between, table_rows
from tests.support.cli import Cli
from tests.support.psql import REPOSITORY

if TYPE_CHECKING:
    from click.testing import Result

    from tests.support.sqljobs import Db

_BAD = 'var a = "insert into pgqueue.jobs (job_type, oops) values (1, 2)";\n'
_WARNING = "client.query('insert into pgqueue.jobs (job_type, payload) values ($1, $2)');\n"


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with a bad file, a good one and what nobody should look at."""
    monkeypatch.chdir(tmp_path)
    for name, text in {
        "src/Bad.cs": f"// ü\n{_BAD}",
        "src/good.py": "x = 'insert into pgqueue.jobs (job_type) values (%s)'\n",
        "src/notes.txt": _BAD,
        "src/obj/Generated.cs": _BAD,
        "src/.git/Bad.cs": _BAD,
        "src/node_modules/x/bad.ts": _BAD,
        "warn/a.ts": _WARNING,
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path


def run(*words: object) -> Result:
    """Run the command; it needs no database."""
    return Cli("")("check", *words)


def test_a_finding_has_place_rule_message_and_fix(sources: Path) -> None:
    """And the command ends with 1."""
    result = run("src")

    assert result.exit_code == 1
    assert result.stdout == (
        "src/Bad.cs:2:46: error[unknown-column] pgqueue.jobs has no column 'oops'\n"
        "    There are: id, job_type, queue, priority, payload, run_at, expires_at, max_attempts,"
        " timeout, idempotency_key, unique_key, tenant_id, headers, notify,"
        " feed, callback_url, depends_on, on_parent_failure,"
        " concurrency_key, ordering_key, ordering_on_failure, batch_id, deadline_at.\n"
    )
    assert result.stderr == "1 finding in 2 files\n"


def test_without_findings_it_succeeds_silently(sources: Path) -> None:
    """Nothing on stdout, 0."""
    result = run("src/good.py")

    assert (result.exit_code, result.stdout) == (0, "")


def test_warnings_fail_with_strict_only(sources: Path) -> None:
    """A driver that sends strings untyped has no trouble with them."""
    assert (run("warn").exit_code, run("warn", "--strict").exit_code) == (0, 1)
    assert "warning[text-into-jsonb]" in run("warn").stdout


def test_json_is_one_object(sources: Path) -> None:
    """The same facts, for programs."""
    told = json.loads(run("src", "--json").stdout)

    assert told["files"] == 2
    assert told["findings"][0]["rule"] == "unknown-column"
    assert (told["findings"][0]["line"], told["findings"][0]["column"]) == (2, 46)


def test_sarif_is_what_code_hosts_read(sources: Path) -> None:
    """2.1.0: every rule, every result with its place and its rule's index."""
    result = run("src", "--sarif")
    told: dict[str, Any] = json.loads(result.stdout)
    (log,) = told["runs"]
    (found,) = log["results"]
    driver = log["tool"]["driver"]

    assert (result.exit_code, told["version"]) == (1, "2.1.0")
    assert [rule["id"] for rule in driver["rules"]] == list(RULES)
    assert driver["rules"][found["ruleIndex"]]["id"] == found["ruleId"] == "unknown-column"
    assert found["level"] == "error"
    assert found["locations"][0]["physicalLocation"] == {
        "artifactLocation": {"uri": "src/Bad.cs"},
        "region": {"startLine": 2, "startColumn": 46},
    }


@pytest.mark.parametrize("words", [("nowhere",), ("src/notes.txt",), ()])
def test_what_cannot_be_checked_is_a_usage_error(sources: Path, words: tuple[str, ...]) -> None:
    """Not a success: a mistyped path would switch the check off."""
    assert run(*words).exit_code == 2


def test_an_application_knows_its_job_types(sources: Path) -> None:
    """And what their handlers take."""
    Path("a.sql").write_text(
        """insert into pgqueue.jobs (job_type, payload) values ('send_mial', '{}');
           insert into pgqueue.jobs (job_type, payload) values ('send_mail', '{"to": 1}');
           insert into pgqueue.jobs (job_type, payload) values ('send_mail', '{"to": "a"}');""",
        encoding="utf-8",
    )
    told = json.loads(run("a.sql", "--app", "tests.check.handlers", "--json").stdout)

    assert [(one["line"], one["rule"]) for one in told["findings"]] == [
        (1, "unknown-job-type"),
        (2, "payload-signature"),
    ]
    assert told["findings"][0]["fix"] == "Did you mean 'send_mail'?"
    assert told["findings"][1]["message"].endswith("to is a number, not a string")


def test_a_database_knows_job_types_and_queues(sources: Path, db: Db, dsn: str) -> None:
    """What is registered there; queues of types, of workers, and those that were paused."""
    db.execute("""select pgqueue.register_job_types('[{"job_type": "here", "queue": "q"}]')""")
    db.execute("select pgqueue.register_worker('w', array['listened'])")
    Path("a.sql").write_text(
        """insert into pgqueue.jobs (job_type, queue) values ('here', 'q'), ('here', 'listened'),
               ('here', 'default');
           insert into pgqueue.jobs (job_type, queue) values ('gone', 'elsewhere');""",
        encoding="utf-8",
    )
    told = json.loads(run("a.sql", "--database", dsn, "--json").stdout)

    assert [(one["line"], one["rule"]) for one in told["findings"]] == [
        (3, "unknown-job-type"),
        (3, "unknown-queue"),
    ]


def test_nothing_that_is_read_is_run(sources: Path) -> None:
    """A Python file is parsed, not imported."""
    Path("evil.py").write_text("open('ran', 'w'); x = 'select pgqueue.enque()'\n", encoding="utf-8")

    assert run("evil.py").exit_code == 1
    assert not Path("ran").exists()


@pytest.mark.parametrize("cut", range(0, 400, 7))
@pytest.mark.parametrize("suffix", [".cs", ".java", ".py", ".sql", ".ts"])
def test_no_source_breaks_the_checker(suffix: str, cut: int) -> None:
    """Files cut anywhere, or of another language: findings or none, and never an exception."""
    for path in sorted((Path(__file__).parent / "corpus").rglob("literals.*")):
        text = path.read_text(encoding="utf-8")
        start = cut * len(text) // 400
        check_source(Source("x", text[start:]), suffix, Known())
        check_source(Source("x", text[:start] + "\\"), suffix, Known())


# Not metering: it is SQL of the schema's owner, who calls what is internal to others.
@pytest.mark.parametrize(
    "app", ["demo", "engine", "market", "marketplace", "numbers", "tasks", "warehouse"]
)
def test_the_projects_own_sql_is_good(app: str) -> None:
    """What the applications and the README show to producers."""
    result = run(REPOSITORY / "workers" / app, "--app", f"workers.{app}")

    assert (result.exit_code, result.stdout) == (0, "")


def test_every_rule_is_in_the_readme_with_the_same_words() -> None:
    """One table; what a finding's id means is found there."""
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    rows = table_rows(between(readme, "rules"))
    told = {re.findall(r"`([^`]+)`", row[0])[0]: row[1].replace("\\", "") for row in rows}

    assert told == RULES
