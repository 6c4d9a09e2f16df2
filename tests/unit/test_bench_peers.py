"""The peers' side of `make bench`, without the peers."""

from __future__ import annotations

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pgqueue.bench import BenchSettings
from tests.bench.cases import PEERS, ROOT, Prepared, _url, peer_cases


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
