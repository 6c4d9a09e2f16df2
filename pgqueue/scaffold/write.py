"""Write the files of a new application, all of them or none."""

from __future__ import annotations

import shutil
import tempfile
from importlib.resources import as_file, files
from pathlib import Path
from string import Template

from pgqueue.errors import ConfigurationError, InvalidArgument
from pgqueue.scaffold.names import problem_of

__all__ = ["write_application"]

_SUFFIX = ".tmpl"
_NAME = "APP"
_ATTEMPT = ".pgqueue-new-"


def write_application(name: str, *, below: Path) -> list[Path]:
    """
    Write an application into a directory of its name.

    Args:
        name: What it is called.
        below: Where the directory is made.

    Returns:
        What was written, relative to *below*, sorted.

    Raises:
        InvalidArgument: The name will not do.
        ConfigurationError: The directory exists, or nothing can be written there.
    """
    problem = problem_of(name)
    if problem is not None:
        raise InvalidArgument(f"{name} {problem}")
    target = below / name
    if target.exists() or target.is_symlink():
        raise ConfigurationError(f"{target} exists already", hint="Nothing was written.")
    try:
        attempt = Path(tempfile.mkdtemp(prefix=_ATTEMPT, dir=below))
        try:
            with as_file(files("pgqueue.scaffold") / "files") as templates:
                _fill(templates, attempt / name, name)
            # In one step: a directory that is half an application is never seen.
            (attempt / name).rename(target)
        finally:
            shutil.rmtree(attempt, ignore_errors=True)
    except OSError as exc:
        raise ConfigurationError(f"{exc.filename or below}: {exc.strerror}") from exc
    return sorted(path.relative_to(below) for path in target.rglob("*") if path.is_file())


def _fill(templates: Path, target: Path, name: str) -> None:
    for template in templates.rglob(f"*{_SUFFIX}"):
        relative = template.relative_to(templates).as_posix().removesuffix(_SUFFIX)
        path = target / relative.replace(_NAME, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        text = Template(template.read_text(encoding="utf-8")).substitute(app=name)
        path.write_text(text, encoding="utf-8")
