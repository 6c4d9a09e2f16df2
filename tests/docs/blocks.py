"""
The code blocks of the READMEs.

sql, sh and python blocks are run in order, section by section (`##`). What a person must know is
said in an HTML comment on the line before the fence, which readers do not see:

    <!-- not run: needs .NET -->   the block is only shown; the tests list every such block
    <!-- fails: PQ007 -->          an sql block whose last statement must end with this SQLSTATE

A python block that begins with `# file: name.py` is written to that file, before anything runs. A
text block right after one that runs is what that one prints.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.support.psql import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RUNNABLE = frozenset({"sql", "sh", "python"})
_FENCE = re.compile(r"```(?P<language>\S*)")
_MARKER = re.compile(r"<!-- (?P<kind>not run|fails): (?P<value>.+) -->")
_FILE = re.compile(r"# file: (?P<name>[\w./]+)\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """
    One fenced block.

    Attributes:
        document: The README, from the checkout's directory.
        section: The `##` heading above it.
        line: Of the opening fence, counted from 1.
        not_run: Why it is only shown.
        fails: The SQLSTATE that it must end with.
    """

    document: str
    section: str
    line: int
    language: str
    text: str
    not_run: str | None = None
    fails: str | None = None

    @property
    def file(self) -> str | None:
        """The name of the file that the block is, if it is one."""
        found = _FILE.match(self.text) if self.language == "python" else None
        return found["name"] if found else None

    @property
    def runs(self) -> bool:
        """Whether the block is executed where it stands."""
        return self.language in RUNNABLE and self.not_run is None and self.file is None


def readmes() -> list[Path]:
    """Every README of the checkout, the first one first; folders with a dot are not ours."""
    found = [REPOSITORY / "README.md"]
    for folder in ("pgqueue", "sql", "tests", "workers"):
        found += sorted((REPOSITORY / folder).rglob("README.md"))
    return found


def document(path: Path) -> str:
    """What a README is called in messages: `workers/README.md`."""
    return path.relative_to(REPOSITORY).as_posix()


def blocks_of(path: Path) -> list[Block]:
    """
    All fenced blocks, in order.

    Raises:
        AssertionError: A fence is never closed, or a marker does not stand right before one.
    """
    return list(_blocks(document(path), path.read_text(encoding="utf-8").splitlines()))


def _blocks(name: str, lines: list[str]) -> Iterator[Block]:
    section, start, language = "", 0, ""
    marker: re.Match[str] | None = None
    body: list[str] | None = None
    for number, line in enumerate(lines, 1):
        if body is not None:
            if line == "```":
                kind, value = (marker["kind"], marker["value"]) if marker else ("", None)
                yield Block(
                    document=name,
                    section=section,
                    line=start,
                    language=language,
                    text="\n".join(body) + "\n",
                    not_run=value if kind == "not run" else None,
                    fails=value if kind == "fails" else None,
                )
                marker, body = None, None
            else:
                body.append(line)
            continue
        fence = _FENCE.match(line)
        if fence:
            start, language, body = number, fence["language"], []
            continue
        assert marker is None, f"{name} line {number - 1}: a marker, but no block follows it"
        marker = _MARKER.fullmatch(line)
        if line.startswith("## "):
            section = line.removeprefix("## ").strip()
    assert body is None, f"{name} line {start}: the block is never closed"


def between(markdown: str, name: str) -> str:
    """
    What stands between `<!-- name -->` and `<!-- /name -->`.

    Raises:
        AssertionError: The markers are not there exactly once.
    """
    parts = re.split(rf"<!-- /?{re.escape(name)} -->\n", markdown)
    assert len(parts) == 3, f"a README needs one <!-- {name} --> and one <!-- /{name} -->"
    return parts[1]


def table_rows(markdown: str) -> list[list[str]]:
    """The cells of every row of the first table in *markdown*, without heading."""
    lines = [line for line in markdown.splitlines() if line.startswith("|")]
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines]
    return [[cell.strip() for cell in row] for row in rows[2:]]
