"""Every fault that a run can be plagued with: the subclasses of Nemesis in the modules here."""

from __future__ import annotations

import pkgutil
from importlib import import_module

from tests.chaos.nemesis import Nemesis


def every() -> list[Nemesis]:
    """One of each, by name."""
    for module in pkgutil.iter_modules(__path__):
        import_module(f"{__name__}.{module.name}")
    found = [kind() for kind in Nemesis.__subclasses__() if kind.__module__.startswith(__name__)]
    return sorted(found, key=lambda nemesis: nemesis.name)
