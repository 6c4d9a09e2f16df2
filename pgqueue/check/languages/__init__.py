"""
SQL in files: which parts of a source are SQL, and where each character of them stands.

One module per language, each with `fragments(text)`. They are lexers, not parsers: they know
strings, comments, what is spliced into strings, and that literals joined by `+` are one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgqueue.check.languages import csharp, java, python, sql, typescript

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pgqueue.check.model import Fragment

# suffix -> its fragments
LANGUAGES: dict[str, Callable[[str], Iterator[Fragment]]] = {
    ".cs": csharp.fragments,
    ".java": java.fragments,
    ".py": python.fragments,
    ".sql": sql.fragments,
    ".ts": typescript.fragments,
    ".tsx": typescript.fragments,
}
