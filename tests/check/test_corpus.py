"""Good and bad statements in each language: exactly what their comments expect is found."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pgqueue.check import RULES, Known, Source, check_source
from tests.check.handlers import jobs

_CORPUS = Path(__file__).parent / "corpus"
_FILES = sorted(path for path in _CORPUS.rglob("*") if path.is_file())
_EXPECT = re.compile(r"(?:--|//|#)\s*expect:\s*([\w, -]+?)\s*$")
# Literals forms are about strings, not about handlers: any job type and queue will do.
_KNOWN = Known(frozenset({"send_mail"}), frozenset({"default", "mail"}), jobs)
_ANYTHING = Known()
_WITH_HANDLERS = {"payload_signature", "unknown_job_type", "unknown_queue"}


def _expected(text: str) -> set[tuple[int, str]]:
    """A comment speaks of its own line, or of the next if it stands alone."""
    found = set()
    for number, line in enumerate(text.splitlines(), 1):
        said = _EXPECT.search(line)
        if said is None:
            continue
        alone = not line[: said.start()].strip()
        rules = re.split(r",\s*", said[1])
        found |= {(number + alone, rule) for rule in rules}
    return found


def _found(path: Path) -> set[tuple[int, str]]:
    known = _KNOWN if path.stem in _WITH_HANDLERS else _ANYTHING
    source = Source(path.name, path.read_text(encoding="utf-8"))
    return {(one.line, one.rule) for one in check_source(source, path.suffix, known)}


@pytest.mark.parametrize("path", _FILES, ids=lambda path: str(path.relative_to(_CORPUS)))
def test_exactly_what_is_expected_is_found(path: Path) -> None:
    """No finding more and none less, each on its line."""
    assert _found(path) == _expected(path.read_text(encoding="utf-8"))


def test_every_rule_is_found_in_every_language() -> None:
    """Files without comments would pass unseen."""
    seen = {
        (path.suffix, rule)
        for path in _FILES
        for _, rule in _expected(path.read_text(encoding="utf-8"))
    }
    # A value cannot be pasted into a .sql file.
    wanted = {
        (suffix, rule)
        for suffix in (".cs", ".java", ".py", ".sql", ".ts")
        for rule in RULES
        if (suffix, rule) != (".sql", "interpolation")
    }

    assert wanted - seen == set()
