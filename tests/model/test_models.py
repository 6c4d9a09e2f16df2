"""Every order of events: what must never be is not reached, unless the protocol is broken."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.model import bell, floors, lease
from tests.model.explorer import Counterexample, explore

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.model.explorer import Model

SOUND: dict[str, Model[Any]] = {
    "ownership, 2 workers": lease.Lease().model(),
    **{f"doorbell, {name}": model.model() for name, model in bell.SOUND.items()},
    "floors, 4 jobs": floors.Floors().model(),
}
BROKEN: dict[str, Model[Any]] = {
    name: model.model() for module in (lease, bell, floors) for name, model in module.BROKEN.items()
}


@pytest.mark.parametrize("name", SOUND)
def test_no_order_of_events_leads_astray(name: str, figure: Callable[[str], None]) -> None:
    """All states are visited."""
    found = explore(SOUND[name])
    figure(f"model of {name}: {found}")

    assert found.states > 1000


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_protocol_has_a_counterexample(name: str, figure: Callable[[str], None]) -> None:
    """The shortest one there is, as a list of events."""
    with pytest.raises(Counterexample) as caught:
        explore(BROKEN[name])
    problem, *events, _ = str(caught.value).splitlines()
    figure(f"broken model, {name}: after {len(events)} steps {problem}")

    assert events[0].startswith("1. ")
