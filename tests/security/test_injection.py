"""Texts made to become code, in every place where a user's text enters: they stay data."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import click
import pytest

from pgqueue.cli.main import cli
from tests.support.cli import Cli
from tests.support.sqljobs import claim, column, insert, report, row, value, worker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Connect
    from tests.support.sqljobs import Db

_NASTY = {
    "quote": "'; drop table pgqueue.jobs cascade; --",
    "double quote": 'a"; drop schema pgqueue cascade; --',
    "dollar": "$$; select pg_terminate_backend(pg_backend_pid()); $$",
    "tagged dollar": "$fn$ || (select 1) || $fn$",
    "format": "%I %L %s %1$s %% {0} {x!r}",
    "psycopg": "%(payload)s %b :name ? $1 @p",
    "backslash": "\\'; select 1; \\x00 \\u0041 \\! id",
    "comment": "/* */ -- \n select 1",
    "json": '"}, {"job_type": "other", "x": "',
    "notify": "ring *\nseat 1 1\ncancel 1",
    "shell": "$(touch /tmp/oops) `id` | cat; &",
    "control": "\x01\x1b[31m\x7f\r\n\t",
    "unicode": "\u202eevil\u200b\u2028 \U0001f600 \uff53elect",
    "long name": "x" * 63,
    "path": "../../etc/passwd",
    "html": "<script>alert(1)</script>",
    "null word": "null",
    "array": "{a,b}",
}
# For sweeps: one of each kind.
_FEW = [_NASTY[name] for name in ("quote", "dollar", "psycopg", "shell", "control", "json")]
# psql, shells and loggers see the CLI's output: no control character of a producer's reaches it.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\u202e\u2028]")


@pytest.fixture(params=sorted(_NASTY))
def nasty(request: pytest.FixtureRequest) -> str:
    """One text after the other."""
    return _NASTY[request.param]


def _unharmed(db: Db) -> None:
    """Nothing was created, changed, dropped or granted."""
    assert db.execute("select * from pgqueue.drift()").fetchall() == []
    assert column(db, "select count(*) from pg_roles where rolname like 'oops%%'") == [0]


def test_each_column_of_a_job_gives_back_what_was_put_in(db: Db, nasty: str) -> None:
    """By INSERT, enqueue() and enqueue_many(), through claim and status."""
    texts = dict.fromkeys(("job_type", "queue", "unique_key", "idempotency_key"), nasty)
    inserted = insert(
        db, payload={nasty: nasty}, headers={nasty: nasty}, tenant_id=nasty[:100], **texts
    )
    enqueued = value(
        db, "select pgqueue.enqueue(%s, p_queue => %s, p_unique_key => %s)", nasty, nasty, nasty
    )
    many = json.dumps([{**texts, "payload": {nasty: nasty}}])
    value(db, "select count(*) from pgqueue.enqueue_many(%s)", many)
    claimed = claim(db, worker(db, [nasty], name=nasty), queues=[nasty])
    (status,) = db.execute(
        "select job_type, queue, unique_key, idempotency_key, tenant_id, worker"
        " from pgqueue.job_status where id = %s",
        (inserted,),
    ).fetchall()

    assert [job.job_id for job in claimed][:2] == [inserted, enqueued]
    assert json.loads(claimed[0].payload) == json.loads(claimed[0].headers or "") == {nasty: nasty}
    assert status == (nasty,) * 6
    _unharmed(db)


def test_what_a_worker_says_gives_back_what_was_put_in(db: Db, nasty: str) -> None:
    """Progress, cancel reason, errors, results, what was created, follow-ups, pauses."""
    insert(db)
    by = worker(db, name=nasty)
    (job,) = claim(db, by)
    db.execute("select pgqueue.progress(%s, %s, 5, %s)", (*job.owned, nasty))
    db.execute("select pgqueue.cancel(%s, %s)", (job.job_id, nasty))
    db.execute("select pgqueue.pause_queue(%s, %s)", (nasty, nasty))
    db.execute("select pgqueue.pause_job_type(%s, %s)", (nasty, nasty))
    db.execute("select pgqueue.set_job_type(%s, p_description => %s)", (nasty, nasty))
    waits = value(db, "select pgqueue.why_waiting(%s)", job.job_id)
    outcome = {
        "result": {nasty: nasty},
        "errors": [{"code": nasty, "message": nasty}],
        "created": [[nasty, nasty]],
        "follow_ups": [{"job_type": nasty, "queue": nasty, "unique_key": nasty}],
    }
    report(db, [job], [outcome])
    result, errors, created, message = row(
        db,
        "select f.result, f.errors, r.entity_id, f.progress_message"
        " from pgqueue.finished f join pgqueue.job_results r using (job_id)",
    )

    assert nasty in waits
    assert (result, created, message) == ({nasty: nasty}, nasty, nasty)
    assert errors[0]["message"] == nasty
    assert column(db, "select job_type from pgqueue.jobs order by created_at desc limit 1") == [
        nasty
    ]
    _unharmed(db)


def test_what_is_notified_is_never_the_text(db: Db, connect: Connect, nasty: str) -> None:
    """Channel and payload are ours: a queue is a hash there."""
    listener, door = connect(), connect()
    listener.execute("listen pgqueue")
    door.execute("select * from pgqueue.rest(%s)", ([nasty],))
    insert(db, nasty, queue=nasty)
    (heard,) = listener.notifies(timeout=10, stop_after=1)
    expected = value(db, "select 'ring ' || hashtext(%s)", nasty)

    assert (heard.channel, heard.payload) == ("pgqueue", expected)


# Commands that start servers, workers or shells; the words of each are tested where it is.
_NOT_HERE = {"demo", "embedded", "bench", "worker", "completion", "run"}
# 0 to 9: see `pgqueue --help`.
_EXIT_CODES = set(range(10))


def _leaves(command: click.Command, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    if not isinstance(command, click.Group):
        yield path
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        below = command.get_command(context, name)
        assert below is not None
        if path or name not in _NOT_HERE:
            yield from _leaves(below, (*path, name))


def _command(path: tuple[str, ...]) -> click.Command:
    found: click.Command = cli
    for name in path:
        assert isinstance(found, click.Group)
        below = found.get_command(click.Context(found), name)
        assert below is not None
        found = below
    return found


_LEAVES = list(_leaves(cli, ()))


def _words(path: tuple[str, ...], text: str) -> Iterator[list[str]]:
    """The command with the text as each of its arguments, and as the value of each option."""
    params = _command(path).params
    required = [p for p in params if isinstance(p, click.Argument) and p.required]
    filled = [text] * len(required)
    arguments = [p for p in params if isinstance(p, click.Argument)]
    yield [*path, "--", *([text] * max(len(arguments), len(filled)))]
    for option in params:
        if isinstance(option, click.Option) and not option.is_flag:
            yield [*path, f"{option.opts[-1]}={text}", "--", *filled]


@pytest.mark.parametrize("path", _LEAVES, ids=" ".join)
def test_each_argument_and_option_of_a_command_is_data(
    db: Db, dsn: str, path: tuple[str, ...], tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exit code that is documented, no traceback, no control character, the schema as it was."""
    monkeypatch.chdir(tmp_path)
    run = Cli(dsn)
    keep = insert(db, "canary", queue="canary")
    ran = 0
    for text in _FEW:
        for words in _words(path, text):
            if f"--dsn={text}" in words:
                continue  # of its own, below
            result = run(*words)
            ran += 1

            assert result.exit_code in _EXIT_CODES, (words, result.output)
            assert "Traceback" not in result.output, words
            assert not _CONTROL.search(result.stdout), (words, result.stdout)

    assert ran >= len(_FEW)
    assert column(db, "select job_type from pgqueue.jobs where id = %s", keep) == ["canary"]
    _unharmed(db)


def test_what_producers_wrote_reaches_no_terminal_as_it_is(db: Db, dsn: str) -> None:
    """Lists and details show no escape sequence; JSON has the texts themselves."""
    for text in _NASTY.values():
        insert(db, text, queue=text, unique_key=text, payload={text: text})
        db.execute("select pgqueue.set_job_type(%s, p_description => %s)", (text, text))
    run = Cli(dsn)
    for words in (("jobs", "list"), ("queues", "list"), ("types", "list"), ("health",)):
        result = run(*words)

        assert result.stdout != ""
        assert not _CONTROL.search(result.stdout)
    for job_id in column(db, "select id from pgqueue.jobs"):
        assert str(job_id) in run.text("status", job_id)
        assert not _CONTROL.search(run("status", job_id).stdout)
    told = run.data("jobs", "list")

    assert {job["job_type"] for job in told} >= set(_NASTY.values())


@pytest.mark.parametrize("variable", ["PGQUEUE_DSN", "PGQUEUE_POOLER", "PGQUEUE_HOME"])
def test_each_variable_is_data(
    dsn: str, db: Db, variable: str, nasty: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A message or the work done; nothing is run that a variable says."""
    for name in ("PGHOST", "PGHOSTADDR", "PGDATABASE", "PGSERVICE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PGCONNECT_TIMEOUT", "2")
    result = Cli(dsn)("jobs", **{variable: nasty.replace("\x00", "")})

    assert result.exit_code in {0, 2, 5, 7}
    assert "Traceback" not in result.output
    _unharmed(db)


def test_a_dsn_given_as_an_option_is_data(dsn: str, nasty: str) -> None:
    """It names a database or none; what cannot be read is not quoted."""
    result = Cli(dsn)("jobs", f"--dsn={nasty}", PGCONNECT_TIMEOUT="2")

    assert result.exit_code in {2, 5, 7}
    assert "Traceback" not in result.output
