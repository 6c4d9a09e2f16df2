"""Every interleaving of every spec: see stepper.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.races import (
    specs_batches,
    specs_claim,
    specs_doorbell,
    specs_finish,
    specs_keys,
    specs_limits,
    specs_waiting,
)
from tests.races.stepper import explore

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.races.conftest import Open
    from tests.races.stepper import Spec

SPECS = {
    spec.name: spec
    for spec in (
        *specs_claim.SPECS,
        *specs_finish.SPECS,
        *specs_keys.SPECS,
        *specs_doorbell.SPECS,
        *specs_limits.SPECS,
        *specs_batches.SPECS,
        *specs_waiting.SPECS,
    )
}


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_no_interleaving_breaks_the_promise(
    open_session: Open, spec: Spec, figure: Callable[[str], None]
) -> None:
    """Neither the spec's own check nor verify() finds anything, and nobody waits for ever."""
    found = explore(spec, open_session)
    figure(f"{spec.name}: {found.interleavings} interleavings, {found.waited} with a wait")

    assert found.interleavings >= spec.at_least
