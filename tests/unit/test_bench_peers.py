"""The peers' side of `make bench`, without the peers."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest  # noqa: TC002
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pgqueue.bench import BenchSettings, Report
from tests.bench.__main__ import FIGURES, README, with_figures, with_summary
from tests.bench.cases import PEERS, ROOT, Prepared, _install, _url, peer_cases, prepare
from tests.docs.blocks import between


def test_the_url_leads_where_the_conninfo_leads() -> None:
    """For a socket and for a host, with a password that needs quoting."""
    for given in (
        {"user": "u", "dbname": "d", "host": "/run/pg", "port": "5433"},
        {"user": "u", "password": "p@ss/w", "dbname": "d", "host": "h", "port": "5432"},
    ):
        found = conninfo_to_dict(_url(make_conninfo(**given)))

        assert given == {key: str(value) for key, value in found.items()}


def test_every_peer_has_an_adapter() -> None:
    """Whether it can be installed is seen when it is measured."""
    folder = ROOT / "tests/bench/peers"
    missing = [peer.title for peer in PEERS if not (folder / f"{peer.module}.py").exists()]

    assert missing == []


def test_peers_are_measured_in_workloads_that_we_have() -> None:
    """In turns with our own cases of the same name; on databases without our schema."""
    prepared = [Prepared(peer, ROOT) for peer in PEERS]
    cases = peer_cases(prepared, BenchSettings())

    assert {case.workload for case in cases} == {"enqueue", "bulk", "drain", "latency"}
    assert not any(case.schema for case in cases)
    assert len({(case.system, case.workload, case.name) for case in cases}) == len(cases)


def test_the_table_goes_between_the_marks_of_the_readme() -> None:
    """And a second time in its own place."""
    text = "a\n<!-- figures -->\nold\n<!-- /figures -->\nb\n"
    once = with_figures(text, Report((), (), {"PostgreSQL": "18"}))

    assert once.startswith("a\n<!-- figures -->\n| workload |")
    assert once.endswith("- PostgreSQL: 18\n<!-- /figures -->\nb\n")
    assert with_figures(once, Report((), (), {"PostgreSQL": "18"})) == once
    assert FIGURES.read_text("utf-8").count("figures -->") == 2


def test_the_summary_names_what_is_missed_the_worst_first() -> None:
    """One row per workload with aims, and of the first cases their first figure."""
    figures = (
        "| a | b | c | d | e | f |\n|---|---|---|---|---|---|\n"
        "| drain | peer | 1 process | rate 5 (4 - 6) |  | rate at least 9: 8, missed by 2% |\n"
        "| drain | pgqueue | 1 worker process | rate 40 (30 - 50), WAL 7 |  | at most 8: 7, met"
        "; WAL at most 2: 4, missed by 100% |\n"
        "| other | pgqueue | x | rate 1 |  |  |\n"
    )
    text = with_summary("a\n<!-- aims -->\nold\n<!-- /aims -->\nb\n", figures)

    assert "| drain | 1 worker process | rate 40 (30 - 50) |\n" in text
    assert (
        "| drain | 1 of 3 | 1 worker process: WAL at most 2: 4, missed by 100%"
        "<br>1 process, peer: rate at least 9: 8, missed by 2% |\n<!-- /aims -->\nb\n"
    ) in text
    assert "other" not in text


def test_the_summary_counts_the_smaller_misses() -> None:
    """A cell of twenty would hide the worst."""
    misses = "; ".join(f"WAL at most 1: {n}, missed by {n}%" for n in range(1, 9))
    figures = (
        "| a | b | c | d | e | f |\n|---|---|---|---|---|---|\n"
        f"| flow | pgqueue | x | rate 1 |  | {misses} |\n"
    )
    text = with_summary("<!-- aims -->\n<!-- /aims -->\n", figures)

    assert "x: WAL at most 1: 4, missed by 4%<br>and 3 more, by at most 3% |" in text
    assert "missed by 3%" not in text


def test_the_readme_has_the_summary_of_the_figures() -> None:
    """UPDATE_DOCS=1 writes it anew, from the table of tests/bench/README.md."""
    readme = README.read_text("utf-8")
    wanted = with_summary(readme, between(FIGURES.read_text("utf-8"), "figures"))
    if os.environ.get("UPDATE_DOCS") == "1" and wanted != readme:
        README.write_text(wanted, "utf-8")
        readme = wanted

    assert readme.count("<!-- aims -->") == 1
    assert wanted == readme, "UPDATE_DOCS=1 rewrites it"


def test_peers_are_compared_with_in_cases_that_they_have() -> None:
    """A misspelt case would be an aim that nothing is held against."""
    prepared = [Prepared(peer, ROOT / "bin" / "python") for peer in PEERS]
    cases = {(case.system, case.name): case for case in peer_cases(prepared, BenchSettings())}
    compared = [(peer, name, bound) for peer in PEERS for name, bound in peer.times.items()]

    assert ("graphile-worker", "4 processes", 1.4) in [(p.title, *rest) for p, *rest in compared]
    for peer, name, bound in compared:
        assert [aim.bound for aim in cases[peer.title, name].aims] == [bound]


def test_a_peer_on_node_says_when_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Instead of a traceback of what could not be started."""
    monkeypatch.setenv("PATH", str(tmp_path))
    (peer,) = [peer for peer in PEERS if peer.node]

    assert (
        prepare(peer, tmp_path).reason
        == f"{peer.package} needs Node.js and npm, which are not here"
    )


def test_a_peer_for_a_later_python_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pip's last line would only say that there is no such package."""
    told = (
        "ERROR: Ignored the following versions that require a different python version: 0.5.0"
        " Requires-Python >=3.99; 0.6.0 Requires-Python >=3.99\n"
        "ERROR: No matching distribution found for peer\n"
    )
    done = subprocess.CompletedProcess(["pip"], 1, "", told)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)

    assert (_install(Path("python"), "peer") or "").startswith("peer needs Python >=3.99, this is")
