"""Send payment reminders through a mail server that only pretends, but refuses as real ones do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgqueue import JobContext, Retry, job

if TYPE_CHECKING:
    from uuid import UUID

ACCEPTED = 250
TRY_LATER = 451


@dataclass(frozen=True, slots=True)
class Message:
    """
    One mail.

    Attributes:
        message_id: The job's id, the same in every attempt: by it a receiver drops what an attempt
            sent before it was lost.
        try_no: How often it was handed over, this time included.
    """

    recipient: str
    subject: str
    message_id: UUID
    try_no: int


async def hand_over(message: Message) -> int:
    """Greylist as servers do: the first try of a message is turned away, the second is taken."""
    return TRY_LATER if message.try_no == 1 else ACCEPTED


@job("send_reminder", retries=5, timeout=30)
async def send_reminder(ctx: JobContext, email: str, invoice: str) -> dict[str, object]:
    """Remind a customer of an invoice; a server that says "later" is asked again a second later."""
    message = Message(email, f"Invoice {invoice} is due", ctx.id, try_no=ctx.attempt)
    if await hand_over(message) == TRY_LATER:
        raise Retry(after=1, reason="the mail server said 451: try again later")
    ctx.logger.info("reminder accepted")
    return {"message_id": ctx.id, "tries": ctx.attempt}
