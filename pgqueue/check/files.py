"""Which files are checked, and what is printed of them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pgqueue.check.checker import check_source
from pgqueue.check.languages import LANGUAGES
from pgqueue.check.model import Source
from pgqueue.check.rules import RULES
from pgqueue.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pgqueue.check.known import Known
    from pgqueue.check.model import Finding

# Nobody wrote what is in them.
_SKIPPED = {"node_modules", "bin", "obj", "dist", "build", "target", "venv", "__pycache__"}
BYTES_MAX = 4_000_000
_SARIF = "https://json.schemastore.org/sarif-2.1.0.json"


def check_paths(paths: Sequence[str | Path], known: Known) -> tuple[int, list[Finding]]:
    """
    Check files, and all files of directories; how many there were, and the findings.

    Args:
        paths: Files of any of LANGUAGES, or directories.
        known: Job types, queues, handlers.

    Raises:
        InvalidArgument: A path does not exist, or is a file of no language that we know.
    """
    count = 0
    found: list[Finding] = []
    for path in files_of(paths):
        if path.stat().st_size > BYTES_MAX:
            continue
        text = path.read_text(encoding="utf-8-sig", errors="replace")
        count += 1
        if "pgqueue" in text.lower():
            found += check_source(Source(path.as_posix(), text), path.suffix.lower(), known)
    return count, found


def files_of(paths: Iterable[str | Path]) -> Iterator[Path]:
    """
    The files to check, each once, sorted within a directory.

    Raises:
        InvalidArgument: As `check_paths`.
    """
    seen: set[Path] = set()
    for given in map(Path, paths):
        if given.is_dir():
            candidates = sorted(_walk(given))
        elif not given.exists():
            raise InvalidArgument(f"{given}: there is no such file or directory")
        elif given.suffix.lower() not in LANGUAGES:
            kinds = ", ".join(sorted(LANGUAGES))
            raise InvalidArgument(f"{given}: only {kinds} files are checked")
        else:
            candidates = [given]
        for path in candidates:
            if path not in seen:
                seen.add(path)
                yield path


def _walk(directory: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(directory):
        folders[:] = [one for one in folders if one not in _SKIPPED and not one.startswith(".")]
        for name in names:
            if Path(name).suffix.lower() in LANGUAGES:
                yield Path(folder, name)


def sarif(findings: Sequence[Finding], version: str) -> dict[str, Any]:
    """
    The findings as SARIF 2.1.0, which code hosts show in a pull request.

    Args:
        findings: Of `check_paths`.
        version: This program's.
    """
    rules = [{"id": rule, "shortDescription": {"text": told}} for rule, told in RULES.items()]
    driver = {"name": "pgqueue check", "version": version, "rules": rules}
    order = list(RULES)
    results = [
        {
            "ruleId": one.rule,
            "ruleIndex": order.index(one.rule),
            "level": one.level,
            "message": {"text": f"{one.message}. {one.fix}"},
            "locations": [
                {
                    "physicalLocation": {
                        "artifactLocation": {"uri": one.path.lstrip("/")},
                        "region": {"startLine": one.line, "startColumn": one.column},
                    }
                }
            ],
        }
        for one in findings
    ]
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    return {"$schema": _SARIF, "version": "2.1.0", "runs": [run]}
