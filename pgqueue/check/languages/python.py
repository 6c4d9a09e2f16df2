"""Python: strings and f-strings, found by ast, so that docstrings and comments are none."""

from __future__ import annotations

import ast
import re
from itertools import accumulate
from typing import TYPE_CHECKING

from pgqueue.check.languages.literals import Text, escape, hole_end, joined
from pgqueue.check.model import COMPOSED, SPLICED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgqueue.check.model import Fragment

_OPENING = re.compile(r"([A-Za-z]{0,2})(\"\"\"|'''|\"|')")
_GAP = re.compile(r"(?:\s|\\\n|\#[^\n]*|\+|[()])*")
_FIELD = re.compile(r"\{[\w.:!]*\}")  # of str.format() and psycopg.sql


def fragments(text: str) -> Iterator[Fragment]:
    """The SQL in string literals of a Python file; nothing of one that does not parse."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return
    lines = text.splitlines(keepends=True)
    begins = [0, *accumulate(map(len, lines))]

    def offset(line: int, column: int) -> int:
        # ast counts bytes.
        return begins[line - 1] + len(lines[line - 1].encode()[:column].decode(errors="ignore"))

    for node in _strings(tree, _docstrings(tree)):
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        start = offset(node.lineno, node.col_offset)
        whole = _read(text, start, offset(node.end_lineno, node.end_col_offset))
        yield from joined([whole], text, "py")


def _docstrings(tree: ast.AST) -> set[ast.expr]:
    return {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }


def _strings(node: ast.AST, docstrings: set[ast.expr]) -> Iterator[ast.expr]:
    """Outermost string expressions; `"a" + "b"` is one."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.expr) and _is_text(child):
            if child not in docstrings:
                yield child
        else:
            yield from _strings(child, docstrings)


def _is_text(node: ast.expr) -> bool:
    match node:
        case ast.Constant():
            return isinstance(node.value, str)
        case ast.JoinedStr():
            return True
        case ast.BinOp(op=ast.Add()):
            return _is_text(node.left) and _is_text(node.right)
        case _:
            return False


def _read(text: str, i: int, end: int) -> Text:
    """All literals between two offsets as one text."""
    whole = Text(i, end)
    while i < end:
        gap = _GAP.match(text, i)
        i = gap.end() if gap else i
        opening = _OPENING.match(text, i)
        if opening is None or i >= end:
            break
        i = _literal(text, opening.end(), opening[1].lower(), opening[2], whole)
    return whole


def _literal(text: str, i: int, prefix: str, mark: str, whole: Text) -> int:
    formatted = "f" in prefix
    while i < len(text) and not text.startswith(mark, i):
        field = None if formatted else _FIELD.match(text, i)
        if text[i] == "\\" and "r" not in prefix:
            ch, after = escape(text, i)
        elif formatted and text[i : i + 2] in {"{{", "}}"}:
            ch, after = text[i], i + 2
        elif formatted and text[i] == "{":
            ch, after = SPLICED, hole_end(text, i + 1)
        elif field is not None:
            ch, after = COMPOSED, field.end()
        else:
            ch, after = text[i], i + 1
        whole.add(ch, i)
        i = after
    return i + len(mark)
