"""
pgqueue broken on purpose, a little each time. A checker that notices none of them proves nothing.

`*.sql` patch the installed text of one function, so that they follow the source; `*.py` patch the
worker. A pattern that is not found is an error.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import psycopg

HERE = Path(__file__).parent
_BLOCK = re.compile(
    r"^-- replace\n(.*?)\n-- with\n(.*?)(?=^-- (?:replace|end)$)", re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True, slots=True)
class Mutant:
    """
    One way to break pgqueue.

    Attributes:
        name: Of its file.
        what: In a sentence.
        kinds: What the checker must call it, at least one of these.
        function: Whose text is patched; None: it is the worker that is.
        patches: What is replaced by what.
        flow: It shows under limits, batches, signals and wallets, which other loads do without.
    """

    name: str
    what: str
    kinds: frozenset[str]
    function: str | None = None
    patches: tuple[tuple[str, str], ...] = ()
    flow: bool = False

    def apply(self, db: psycopg.Connection[Any]) -> None:
        """
        Patch the function.

        Args:
            db: As its owner.
        """
        if self.function is None:
            return
        row = db.execute("select pg_get_functiondef(%s::regprocedure)", (self.function,)).fetchone()
        assert row is not None
        text: str = row[0]
        for old, new in self.patches:
            assert old in text, f"mutant {self.name}: {self.function} has changed, not found: {old}"
            text = text.replace(old, new)
        db.execute(text)


def every() -> list[Mutant]:
    """All of them, by name."""
    found = [_read(path) for path in HERE.glob("*.sql")]
    found += [_read_module(path) for path in HERE.glob("*.py") if path.stem != "__init__"]
    return sorted(found, key=lambda mutant: mutant.name)


def _read(path: Path) -> Mutant:
    text = path.read_text(encoding="utf-8")
    patches = tuple((old, new.removesuffix("\n")) for old, new in _BLOCK.findall(text))
    assert patches, f"{path}: no -- replace, -- with, -- end"
    function = _after(text, "-- function: ")
    flow = _after(text, "-- load: ") == "flow"
    return Mutant(path.stem, _after(text, "-- "), _kinds(text), function, patches, flow)


def _read_module(path: Path) -> Mutant:
    text = path.read_text(encoding="utf-8")
    return Mutant(path.stem, text.lstrip('"\n').partition("\n")[0].strip('"'), _kinds(text))


def _kinds(text: str) -> frozenset[str]:
    return frozenset(re.split(r",\s*", _after(text, "caught as: ")))


def _after(text: str, label: str) -> str:
    return text.partition(label)[2].partition("\n")[0].strip()
