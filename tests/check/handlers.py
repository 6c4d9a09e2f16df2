"""What the corpus is checked with: the handlers of an application."""

from __future__ import annotations

from pgqueue import Registry

jobs = Registry("corpus")


@jobs.job(queue="mail")
def send_mail(to: str) -> None:
    """Send one."""
