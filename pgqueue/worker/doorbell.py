"""
The worker's side of the doorbell: the protocol is in sql/functions/doorbell.sql.

The connection listens, and holds the doors and seats as advisory locks. Between calls a reader on
its socket takes the notifications; during a call psycopg takes them. Never a query inside
`conn.notifies()`: that deadlocks. Model: tests/model/bell.py.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import TYPE_CHECKING, TypeVar

import psycopg

from pgqueue import calls
from pgqueue.errors import DatabaseUnavailable
from pgqueue.worker.link import Link, Outages
from pgqueue.worker.waiting import Backoff, Signal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pgqueue.calls import Call
    from pgqueue.connection import AsyncBoundedConnection, Endpoint

__all__ = ["Doorbell"]

T = TypeVar("T")

TEST_SECONDS = 2.0
# Of its calls, which wait for nothing in the server. The engine waits for them: on a dead line no
# job starts meanwhile.
CALL_SECONDS = 2.0
# An inserter is in flight: look again after 10 ms, later after up to 100 ms.
BUSY_BASE_SECONDS = 0.02
BUSY_CAP_SECONDS = 0.1


class Doorbell:
    """
    Where one worker sleeps.

    Args:
        where: How to connect; must be a session of its own, not a pooled one.
        queues: Whose doors.
        outages: Where losses are noted.
        on_ring: Called when the worker should look for jobs.
        on_cancel: Called with a worker's id when one of its jobs should stop.

    Attributes:
        rung: Somebody rang, or the connection is lost: claim. Reset by who claims.
        called: The ring named our seat: a worker that is full passed the door on.
        owes: We gave up the door and nobody has it: when full, pass it on.
    """

    def __init__(
        self,
        where: Endpoint,
        queues: Sequence[str],
        *,
        outages: Outages,
        on_ring: Callable[[], None],
        on_cancel: Callable[[int], None],
    ) -> None:
        self.rung = False
        self.called = False
        self.owes = False
        self._queues = list(queues)
        # By hash, as notifications name them. Kept after leave(): a seat may be called just then.
        self._places: dict[int, int] = {}
        self._held: set[str] = set()
        self._unheard: list[str] | None = None
        self._on_ring = on_ring
        self._on_cancel = on_cancel
        self._busy = Backoff(BUSY_BASE_SECONDS, BUSY_CAP_SECONDS)
        self._test_word = ""
        self._tested = Signal()
        # What the loop watches. Not asked of the connection: a dead one has forgotten its number.
        self._fd: int | None = None
        self._link = Link(where, role="doorbell", outages=outages, on_open=self._listen)

    @property
    def holding(self) -> bool:
        """Whether we hold a door or a seat."""
        return bool(self._held)

    @property
    def resting(self) -> bool:
        """Whether we have a place at every queue, and may sleep after one more claim."""
        return len(self._held) == len(self._queues)

    @property
    def benched(self) -> bool:
        """Whether another worker has one of the doors."""
        return any(place > 0 for place in self._places.values())

    @property
    def seat(self) -> int:
        """The lowest number of our places: 0 if we have a door."""
        return min(self._places.values(), default=0)

    @property
    def lost(self) -> bool:
        """Whether there is no connection at present."""
        return self._link.connection is None

    @property
    def retry_seconds(self) -> float:
        """How long to poll before rest() can work."""
        return self._link.retry_seconds if self.lost else self._busy.next()

    async def rest(self) -> bool:
        """Forget rings, take the places that we have not got; whether we have all of them now."""
        missing = [queue for queue in self._queues if queue not in self._held]
        self.rung = self.called = False
        # What comes in with the answer is about places that we know only from it.
        unheard = self._unheard = []
        try:
            places = await self._call(calls.rest(missing))
        finally:
            self._unheard = None
        for place in places or ():
            self._places[place.queue_hash] = place.place
            if place.place >= 0:
                self._held.add(place.queue)
        if self.resting:
            self._busy.reset()
            # Each queue has a doorman now, we or another.
            self.owes = False
        for payload in unheard:
            self._heard(payload)
        return self.resting

    async def leave(self, *, pass_on: bool) -> None:
        """Give up every place. With *pass_on* (we are full) wake the next worker on the bench."""
        self.owes = not pass_on and (self.owes or self._doorman)
        held, self._held = self.holding, set()
        if held or pass_on:
            await self._call(calls.leave(self._queues, pass_on=pass_on))

    async def ping(self) -> None:
        """Make sure that the connection lives: a dead one would never ring."""
        await self._call(calls.rest([]))

    async def works(self, other: Link) -> bool:
        """
        Whether notifications arrive here: behind a transaction pooler they do not.

        Args:
            other: A connection to notify from.
        """
        conn = await self._link.open()
        self._watch(conn)
        self._test_word = f"test {secrets.token_hex(8)}"
        notify = "select pg_notify('pgqueue', %s)"
        await other.call(calls.Call(notify, (self._test_word,), list))
        deadline = time.monotonic() + TEST_SECONDS
        while self._test_word and time.monotonic() < deadline:
            await self._tested.wait(deadline - time.monotonic())
        return not self._test_word

    def close(self) -> None:
        """Close the connection; the server frees our places."""
        self._unwatch()
        self._link.drop()
        self._held.clear()

    @property
    def _doorman(self) -> bool:
        """Whether we hold a door."""
        return self.holding and 0 in self._places.values()

    async def _call(self, call: Call[T]) -> T | None:
        """Make one call; None when the connection is lost, which the worker makes up by polling."""
        self._unwatch()
        try:
            answer = await self._link.call(call, seconds=CALL_SECONDS)
        except (DatabaseUnavailable, psycopg.Error) as exc:
            self._forget(exc)
            return None
        conn = self._link.connection
        assert conn is not None
        self._watch(conn)
        # What came in together with the answer makes the socket readable no more.
        self._take(conn)
        return answer

    async def _listen(self, conn: AsyncBoundedConnection) -> None:
        conn.add_notify_handler(lambda notify: self._heard(notify.payload))
        await conn.execute("listen pgqueue")

    def _watch(self, conn: AsyncBoundedConnection) -> None:
        self._unwatch()
        self._fd = conn.pgconn.socket
        asyncio.get_running_loop().add_reader(self._fd, self._readable, conn)

    def _unwatch(self) -> None:
        # Of a dead connection too: the next socket with this number would inherit its entry.
        fd, self._fd = self._fd, None
        if fd is not None:
            asyncio.get_running_loop().remove_reader(fd)

    def _readable(self, conn: AsyncBoundedConnection) -> None:
        try:
            conn.pgconn.consume_input()
        except psycopg.Error as exc:
            self._unwatch()
            self._forget(exc)
            return
        self._take(conn)

    def _take(self, conn: AsyncBoundedConnection) -> None:
        while (notify := conn.pgconn.notifies()) is not None:
            self._heard(notify.extra.decode("utf-8", "replace"))

    def _forget(self, exc: Exception) -> None:
        """Take the connection for lost, and claim: the places went with the session."""
        if not self.lost:
            self._link.lost(exc)
        self.owes = self.owes or self._doorman
        self._held.clear()
        self._ring()

    def _heard(self, payload: str) -> None:
        """Act on a notification. Anybody can send one: it is a hint, never data."""
        if self._unheard is not None:
            self._unheard.append(payload)
            return
        match payload.split(" "):
            case ["ring", "*"] if 0 in self._places.values():
                self._ring()
            case ["ring", number] if self._place(number) == 0:
                self._ring()
            case ["seat", number, seat] if seat != "0" and str(self._place(number)) == seat:
                self.called = True
                self.owes = True
                self._ring()
            case ["cancel", number] if number.isdecimal():
                self._on_cancel(int(number))
            case ["test", _] if payload == self._test_word:
                self._test_word = ""
                self._tested.set()

    def _ring(self) -> None:
        self.rung = True
        self._on_ring()

    def _place(self, queue_hash: str) -> int | None:
        try:
            return self._places.get(int(queue_hash))
        except ValueError:
            return None
