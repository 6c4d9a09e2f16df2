"""What the checker answers: broken promises, each with the few events that show it, and counts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.chaos.evidence import Evidence, Job

SHOWN_MAX = 5


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken promise: which, what happened, and to which job."""

    kind: str
    text: str
    job: Job | None = None


@dataclass(slots=True)
class Verdict:
    """What was found, and what was counted on the way."""

    violations: list[Violation] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def kinds(self) -> set[str]:
        """Which promises were broken."""
        return {violation.kind for violation in self.violations}

    def explain(self, evidence: Evidence, seed: object) -> str:
        """
        The first violations of each kind, with everything that is known of their jobs.

        Args:
            evidence: What was checked.
            seed: To do it again with.
        """
        lines: list[str] = []
        shown: Counter[str] = Counter()
        for violation in self.violations:
            shown[violation.kind] += 1
            if shown[violation.kind] > SHOWN_MAX:
                continue
            lines.append(f"seed {seed}: {violation.kind}: {violation.text}")
            if violation.job is not None:
                lines.append(f"    job {violation.job}")
                lines += [f"    {line}" for line in evidence.about(violation.job)]
        lines += [f"{kind}: {n} in all" for kind, n in shown.items() if n > SHOWN_MAX]
        return "\n".join(lines)
