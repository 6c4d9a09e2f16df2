"""Keys under attack: two kinds of key in one request, taken by different sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.sqljobs import column, insert, run_one, value

if TYPE_CHECKING:
    from tests.races.conftest import Open
    from tests.races.sessions import Sessions


def test_a_follow_up_whose_idempotency_key_was_taken_meanwhile_is_that_job(
    open_session: Open, sessions: Sessions
) -> None:
    """The enqueue waits for the holder; when it goes on, another job has the other key."""
    db, holding = open_session(), open_session.transaction()
    job = run_one(db, unique_key="k")
    holding.execute("select from pgqueue.jobs where id = %s for update", (job.job_id,))
    enqueueing = sessions.start(
        open_session(),
        """select pgqueue.enqueue('t', p_unique_key => 'k', p_idempotency_key => 'i',
               p_on_duplicate => 'replace')""",
    ).blocked()
    other = insert(db, idempotency_key="i")
    holding.commit()

    assert enqueueing.value() == other
    assert column(db, "select count(*) from pgqueue.blocked") == [0]
    assert value(db, "select count(*) from pgqueue.jobs") == 2
