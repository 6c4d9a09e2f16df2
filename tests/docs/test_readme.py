"""The README does what it says: its blocks are run, section by section, each on a new database."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.docs.blocks import RUNNABLE, blocks_of
from tests.docs.session import normalised, reader
from tests.support.psql import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

README = REPOSITORY / "README.md"
BLOCKS = blocks_of(README.read_text(encoding="utf-8"))
SECTIONS = list(dict.fromkeys(block.section for block in BLOCKS if block.runs))

# Every block that is only shown. A new one must be added here, with its reason.
SHOWN = [
    ("30-second demo", "sh", "the demo and the tests have tests of their own"),
    ("What it costs", "sh", "it takes most of an hour"),
    ("Install", "sh", "it would install into the environment of the tests"),
    ("Install", "sh", "it fails on a server without fsync, such as that of the tests"),
    ("Install", "sh", "it starts a server in the home directory"),
    ("Enqueue", "csharp", "needs .NET and Npgsql"),
    ("Enqueue", "csharp", "needs .NET and Dapper"),
    ("Enqueue", "csharp", "needs .NET and EF Core"),
    ("Enqueue", "csharp", "needs .NET and Npgsql"),
    ("Enqueue", "csharp", "needs .NET and Dapper"),
    ("Enqueue", "sh", "it runs until it is stopped"),
    ("Enqueue", "text", "what is sent"),
    ("Enqueue", "csharp", "needs .NET"),
    ("A job's life in psql", "text", "a picture"),
    ("Workers", "sh", "it runs until it is stopped"),
    ("Workers", "text", "a line of the log"),
    ("Commands", "text", "written by a test"),
]


@pytest.mark.parametrize("section", SECTIONS)
def test_the_blocks_of_the_section_run(section: str, dsn: str, tmp_path: Path) -> None:
    """They succeed in order, and print what the text block after them shows."""
    wrong = []
    with reader(dsn, tmp_path, BLOCKS) as person:
        printed: str | None = None
        for block in (block for block in BLOCKS if block.section == section):
            if block.runs:
                printed = person.run(block)
            elif block.language == "text" and block.not_run is None:
                if normalised(block.text) != normalised(printed or ""):
                    wrong.append(f"line {block.line} shows\n{block.text}but this is:\n{printed}")
                printed = None

    assert wrong == []


def test_every_block_runs_or_says_why_not() -> None:
    """No block slips through for want of a language or a marker."""
    shown = [(block.section, block.language, block.not_run) for block in BLOCKS if block.not_run]
    known = {*RUNNABLE, "text"}

    assert shown == SHOWN
    assert {block.language for block in BLOCKS if block.not_run is None} <= known


def test_every_text_block_is_the_output_of_one_that_runs() -> None:
    """A text block after nothing that prints would be compared with nothing."""
    pairs = zip([None, *BLOCKS], BLOCKS, strict=False)
    orphans = [
        block.line
        for before, block in pairs
        if block.language == "text"
        and block.not_run is None
        and (before is None or not before.runs or before.section != block.section)
    ]

    assert orphans == []


def test_every_file_in_the_readme_is_written_once() -> None:
    """Two blocks with one name: the second would replace the first unseen."""
    names = [block.file for block in BLOCKS if block.file]

    assert sorted(set(names)) == sorted(names)
