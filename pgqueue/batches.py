"""A batch while it is open, as `Client.batch` hands it out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Unpack
    from uuid import UUID

    from pgqueue.calls import Enqueued, JobOptions, NewJob
    from pgqueue.client import AsyncClient, Client

__all__ = ["AsyncBatch", "Batch"]


@dataclass(frozen=True, slots=True)
class Batch:
    """Enqueues into one batch. `id` is what other jobs name as batch_id."""

    id: UUID
    client: Client

    def enqueue(self, job_type: str, payload: object = None, **options: Unpack[JobOptions]) -> UUID:
        """Enqueue one job of the batch; see `Client.enqueue`."""
        options["batch_id"] = self.id
        return self.client.enqueue(job_type, payload, **options)

    def enqueue_many(self, jobs: Iterable[NewJob]) -> list[Enqueued]:
        """Enqueue jobs of the batch; see `Client.enqueue_many`."""
        return self.client.enqueue_many(_joined(jobs, self.id))


@dataclass(frozen=True, slots=True)
class AsyncBatch:
    """As `Batch`, for asyncio."""

    id: UUID
    client: AsyncClient

    async def enqueue(
        self, job_type: str, payload: object = None, **options: Unpack[JobOptions]
    ) -> UUID:
        """Enqueue one job of the batch; see `Client.enqueue`."""
        options["batch_id"] = self.id
        return await self.client.enqueue(job_type, payload, **options)

    async def enqueue_many(self, jobs: Iterable[NewJob]) -> list[Enqueued]:
        """Enqueue jobs of the batch; see `Client.enqueue_many`."""
        return await self.client.enqueue_many(_joined(jobs, self.id))


def _joined(jobs: Iterable[NewJob], batch_id: UUID) -> list[NewJob]:
    # The same objects: others of the call may name them as parents.
    found = list(jobs)
    for job in found:
        job.options["batch_id"] = batch_id
    return found
