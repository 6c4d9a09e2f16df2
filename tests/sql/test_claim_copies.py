"""What picks jobs is written three times: in what the copies differ, and in nothing else."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tests.support.sqljobs import value

if TYPE_CHECKING:
    from tests.support.sqljobs import Db

_LANES = """
from generate_series(0, 4 * v_queues - 1) as lane (n)
and r.priority = (lane.n / v_queues)::smallint
and r.pos >= coalesce(p_floors[lane.n % v_queues * 4 + lane.n / v_queues + 1], 0)
"""
# And those of jobs that were let out.
_MORE_LANES = """
from generate_series(0, 8 * v_queues - 1) as lane (n)
and r.priority = (lane.n / (2 * v_queues))::smallint
and r.pos >= case when lane.n / v_queues % 2 = 0 then -9223372036854775807
else coalesce(p_floors[lane.n % v_queues * 4 + lane.n / (2 * v_queues) + 1], 0) end
and r.pos < case when lane.n / v_queues % 2 = 0 then 0 else 9223372036854775807 end
"""
# Without limits: ordered jobs wait for the settings, and the last attempt for its flush.
_PLAIN = """
and r.flags & 32 = 0
delete from pgqueue.ready r where r.ctid = any (array(select p.tid from picked p))
case when v_commit is not null and p.attempts + 1 >= coalesce(j.max_attempts, t.max_attempts, v_max_attempts)
then set_config('synchronous_commit', v_commit, true) end as flushed
"""  # noqa: E501
# Beside limits: what they may be about is not started but handed on.
_BESIDE = """
where not (
select case when exists (
select from picked p where p.flags & 32 <> 0 or p.job_type = any (v_names) or p.queue = any (v_names)
) then set_config('pgqueue.to_weigh', array(select p.tid from picked p)::text, true) <> '' else false end)
delete from pgqueue.ready r where r.ctid = any (array(select o.tid from owned o))
"""  # noqa: E501


def _lines(text: str) -> set[str]:
    lines = (line.strip().rstrip(",") for line in text.splitlines())
    return {line for line in lines if line and not line.startswith("--")}


def _source(db: Db, name: str) -> str:
    return str(value(db, "select prosrc from pg_proc where oid = to_regproc(%s)", name))


def _statements(db: Db) -> tuple[str, str]:
    found = re.findall(r"with picked.*?from owned o;", _source(db, "pgqueue.claim"), re.DOTALL)
    beside, plain = found
    return beside, plain


def test_a_claim_beside_limits_differs_only_in_lanes_and_in_handing_on(db: Db) -> None:
    """A mend of one statement belongs in the other, too."""
    beside, plain = map(_lines, _statements(db))

    assert plain - beside == _lines(_LANES) | _lines(_PLAIN)
    assert beside - plain == _lines(_MORE_LANES) | _lines(_BESIDE)


def test_later_passes_pick_as_the_first_one_does(db: Db) -> None:
    """But for what they have seen and left."""
    source = re.sub(r"\bp_(types|not_now)\b", r"v_\1", _source(db, "pgqueue.pick_ready"))
    later = _lines(source[source.index("from generate_series") : source.index("limit p_limit);")])
    beside, _ = _statements(db)
    first = _lines(beside[beside.index("from generate_series") : beside.index("), owned")])
    columns = {line for line in first | later if line.startswith("select r.ctid as tid")}

    assert later - first - columns == {"and (p_left = '{}' or r.job_id <> all (p_left))"}
    assert first - later - columns == set()
