"""The READMEs do what they say: blocks are run, section by section, each on a new database."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.docs.blocks import RUNNABLE, blocks_of, readmes
from tests.docs.session import normalised, reader

if TYPE_CHECKING:
    from pathlib import Path

BLOCKS = [block for path in readmes() for block in blocks_of(path)]
SECTIONS = list(dict.fromkeys((block.document, block.section) for block in BLOCKS if block.runs))

# Every block that is only shown. A new one must be added here, with its reason.
SHOWN = [
    ("README.md", "30-second demo", "sh", "the demo and the tests have tests of their own"),
    ("README.md", "Install", "sh", "it would install into the environment of the tests"),
    ("README.md", "Install", "sh", "it fails on a server without fsync, such as that of the tests"),
    ("README.md", "Install", "sh", "it starts a server in the home directory"),
    ("README.md", "Enqueue", "csharp", "needs .NET and Npgsql"),
    ("README.md", "Enqueue", "csharp", "needs .NET and Dapper"),
    ("README.md", "Enqueue", "csharp", "needs .NET and EF Core"),
    ("README.md", "Enqueue", "csharp", "needs .NET and Npgsql"),
    ("README.md", "Enqueue", "csharp", "needs .NET and Dapper"),
    ("README.md", "Enqueue", "sh", "it runs until it is stopped"),
    ("README.md", "Enqueue", "text", "what is sent"),
    ("README.md", "Enqueue", "csharp", "needs .NET"),
    ("README.md", "A job's life in psql", "text", "a picture"),
    ("README.md", "Workers", "sh", "it runs until it is stopped"),
    ("README.md", "Workers", "text", "a line of the log"),
    ("README.md", "Commands", "text", "written by a test"),
    ("tests/README.md", "", "sh", "the tests would start themselves"),
    ("tests/bench/README.md", "To measure it again", "sh", "it takes more than an hour"),
    ("tests/chaos/README.md", "To run it", "sh", "minutes each, and some of it needs root"),
]


@pytest.mark.parametrize(("document", "section"), SECTIONS)
def test_the_blocks_of_the_section_run(
    document: str, section: str, dsn: str, tmp_path: Path
) -> None:
    """They succeed in order, and print what the text block after them shows."""
    wrong = []
    blocks = [block for block in BLOCKS if block.document == document]
    with reader(dsn, tmp_path, blocks) as person:
        printed: str | None = None
        for block in (block for block in blocks if block.section == section):
            if block.runs:
                printed = person.run(block)
            elif block.language == "text" and block.not_run is None:
                if normalised(block.text) != normalised(printed or ""):
                    wrong.append(f"line {block.line} shows\n{block.text}but this is:\n{printed}")
                printed = None

    assert wrong == []


def test_every_block_runs_or_says_why_not() -> None:
    """No block slips through for want of a language or a marker."""
    shown = [
        (block.document, block.section, block.language, block.not_run)
        for block in BLOCKS
        if block.not_run
    ]
    known = {*RUNNABLE, "text"}

    assert shown == SHOWN
    assert {block.language for block in BLOCKS if block.not_run is None} <= known


def test_every_text_block_is_the_output_of_one_that_runs() -> None:
    """A text block after nothing that prints would be compared with nothing."""
    pairs = zip([None, *BLOCKS], BLOCKS, strict=False)
    orphans = [
        (block.document, block.line)
        for before, block in pairs
        if block.language == "text"
        and block.not_run is None
        and (
            before is None
            or not before.runs
            or (before.document, before.section) != (block.document, block.section)
        )
    ]

    assert orphans == []


def test_every_file_in_a_readme_is_written_once() -> None:
    """Two blocks with one name: the second would replace the first unseen."""
    names = [(block.document, block.file) for block in BLOCKS if block.file]

    assert sorted(set(names)) == sorted(names)
