"""Logins that exist for one test, each with a name of its own: roles belong to the whole server."""

from __future__ import annotations

import itertools
import os
from typing import TYPE_CHECKING, Protocol

import pytest
from psycopg import sql

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Connect
    from tests.support.sqljobs import Db

_numbers = itertools.count(1)


class Login(Protocol):
    """Makes a login role and connects as it."""

    def __call__(self, *roles: str, tenant: str | None = None) -> Db:
        """
        Connect as a new login.

        Args:
            roles: What it is a member of.
            tenant: What it is confined to; None: it is not.
        """
        ...


@pytest.fixture
def login(db: Db, connect: Connect) -> Iterator[Login]:
    """A factory for logins; dropped when the test ends."""
    made: list[sql.Identifier] = []

    def new_login(*roles: str, tenant: str | None = None) -> Db:
        name = f"pgqueue_test_{os.getpid()}_{next(_numbers)}"
        role = sql.Identifier(name)
        db.execute(sql.SQL("create role {} login password 'scratch'").format(role))
        made.append(role)
        for member_of in roles:
            db.execute(sql.SQL("grant {} to {}").format(sql.Identifier(member_of), role))
        if tenant is not None:
            db.execute("select pgqueue.confine(%s, %s)", (name, tenant))
        return connect(user=name, password="scratch")

    yield new_login
    for role in made:
        db.execute(sql.SQL("drop owned by {}").format(role))
        db.execute(sql.SQL("drop role {}").format(role))
