"""The peers' side of `make bench`, without the peers."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest  # noqa: TC002
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pgqueue.bench import BenchSettings, Report
from tests.bench.__main__ import README, with_figures
from tests.bench.cases import PEERS, ROOT, Prepared, _install, _url, peer_cases


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
    assert README.read_text("utf-8").count("figures -->") == 2


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
