"""The stepper finds what it is there to find: specs against functions broken on purpose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.races.stepper import Broken, explore
from tests.races.test_permutations import SPECS
from tests.support.sqljobs import value

if TYPE_CHECKING:
    from tests.races.conftest import Open
    from tests.support.sqljobs import Db


@dataclass(frozen=True, slots=True)
class Mutant:
    """Texts in functions, replaced."""

    name: str
    edits: list[tuple[str, str, str]]  # function, old, new
    spec: str
    found: str  # in the message of the failure


MUTANTS = [
    Mutant(
        "a completion by job id alone",
        [
            (
                "complete_owned",
                (
                    "coalesce((r.job_id, r.token) in (\n                select u.job_id, u.token"
                    " from unnest(p_job_ids, p_tokens) as u (job_id, token)), false)"
                ),
                "true",
            ),
            ("complete_owned", "g.job_id = x.job_id and g.token = x.token", "g.job_id = x.job_id"),
            ("completed_status", "and f.token = p_token ", ""),
        ],
        "complete / rescue / heir",
        "completed by the zombie, and claimed by its heir",
    ),
    Mutant(
        "a claim that locks nothing",
        [("claim", f"\n{' ' * 16}for update of r skip locked", "")],
        "claim / claim",
        "23505",
    ),
    Mutant(
        "a claim beside limits that locks nothing",
        [("claim", f"\n{' ' * 24}for update of r skip locked", "")],
        "claim / claim beside a limit of others",
        "23505",
    ),
    Mutant(
        "a trigger that gives the door's lock back before its commit",
        [
            (
                "route_inserted",
                "if not pg_try_advisory_xact_lock_shared(7067001, hashtext(v_first))",
                """if not (pg_try_advisory_lock_shared(7067001, hashtext(v_first))
                    and pg_advisory_unlock_shared(7067001, hashtext(v_first)))""",
            )
        ],
        "insert / insert / sleep",
        "nobody has rung",
    ),
    Mutant(
        "a doorman that leaves without a word",
        [("leave", "if not p_pass or", "if true or")],
        "insert / sleep and pass the door on / sleep",
        "the bench has not heard of it",
    ),
    Mutant(
        "a cancel that looks once",
        [("cancel", "for i in 1..100 loop", "for i in 1..1 loop")],
        "claim / cancel / update",
        "PQ002",
    ),
    Mutant(
        "a rescue that does not wait for claims in flight",
        [
            (
                "rescue",
                "if pg_try_advisory_xact_lock(7067003, (v_worker.id % 2147483647)::integer) then",
                "if true then",
            )
        ],
        "claim / lease ends / rescue",
        "queued",
    ),
    Mutant(
        "retention that does not lock what it removes",
        [("retain", "limit 1 for update skip locked", "limit 1")],
        "retention / redrive / retry",
        "PQ007",
    ),
    Mutant(
        "gates without a lock",
        [
            (
                "hold_gates",
                "if pg_try_advisory_xact_lock(7067006, hashtext(v_gate)) then",
                "if true then",
            )
        ],
        "claim / claim at a gate",
        "two run at once",
    ),
    Mutant(
        "an end that opens nothing",
        [("leave_gates", "from gone g;", "from gone g where false;")],
        "park / finish / claim at a gate",
        "somebody still waits",
    ),
    Mutant(
        "openings that are consumed without the gate's lock",
        [("open_gates", "v_held := pgqueue.hold_gates(v_due);", "v_held := v_due;")],
        "park / finish / claim at a gate",
        "somebody still waits",
    ),
    Mutant(
        "a cancel that does not make up for what was let out",
        [("cancel_waiting", "if v_job.pos < 0 then", "if false then")],
        "let out / claim / cancel",
        "somebody still waits",
    ),
    Mutant(
        "an update that looks once",
        [("route_updated", "for v_turn in 1..100 loop", "for v_turn in 1..1 loop")],
        "park / update",
        "PQ002",
    ),
    Mutant(
        "a skip that does not lock its job",
        [
            (
                "skip_ordered",
                "from pgqueue.finished f where f.job_id = p_job_id for key share;",
                "from pgqueue.finished f where f.job_id = p_job_id;",
            )
        ],
        "skip / retry / claim of one key",
        "ordered job out of its order",
    ),
    Mutant(
        "limits that are turned off behind a claim that parks",
        [
            (
                "tend_limits",
                "or exists (select from pgqueue.openings o where not starts_with(o.gate, '-'))",
                "",
            ),
            (
                "tend_limits",
                "or exists (select from pgqueue.blocked b where b.gate is not null)",
                "",
            ),
        ],
        "claim at a rate / drop the limit / tend",
        "somebody still waits",
    ),
    Mutant(
        "a limit that is dropped without a second look",
        [("change_limit", "values ('-' || p_limit_id)", "select '' where false")],
        "claim at a rate / drop the limit / tend",
        "somebody still waits",
    ),
]


def _break(db: Db, function: str, old: str, new: str) -> None:
    source = value(
        db,
        """select pg_get_functiondef(p.oid) from pg_proc p
           where p.pronamespace = 'pgqueue'::regnamespace and p.proname = %s""",
        function,
    )
    assert source.count(old) == 1, f"what is to be broken in {function}() has changed"
    db.execute(source.replace(old, new))


@pytest.mark.breaks_invariants
@pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.name for mutant in MUTANTS])
def test_a_broken_function_is_found(open_session: Open, mutant: Mutant) -> None:
    """By its spec, which passes with the function as it is."""
    db = open_session()
    for function, old, new in mutant.edits:
        _break(db, function, old, new)
    with pytest.raises(Broken) as caught:
        explore(SPECS[mutant.spec], open_session)

    assert mutant.found in str(caught.value)
