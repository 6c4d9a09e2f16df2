"""Explore all models and print the counterexamples of the broken ones: python -m tests.model."""

from __future__ import annotations

import click

from tests.model.explorer import Counterexample, explore
from tests.model.test_models import BROKEN, SOUND

for _name, _model in SOUND.items():
    click.echo(f"{_name}: {explore(_model)}")
for _name, _model in BROKEN.items():
    try:
        click.echo(f"{_name}: NOT FOUND, {explore(_model)}")
    except Counterexample as exc:
        click.echo(f"\n{_name}: {exc}")
