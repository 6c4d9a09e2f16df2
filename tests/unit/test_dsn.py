from __future__ import annotations

import pytest
from psycopg.conninfo import conninfo_to_dict

from pgqueue.dsn import Timeouts, describe_dsn, find_dsn, full_dsn, wants_pooler
from pgqueue.errors import ConfigurationError


def test_an_explicit_dsn_wins_over_the_environment() -> None:
    """Explicit, then PGQUEUE_DSN, then libpq's variables."""
    environment = {"PGQUEUE_DSN": "dbname=b", "PGHOST": "h"}

    assert find_dsn("dbname=a", environment=environment) == "dbname=a"
    assert find_dsn(environment=environment) == "dbname=b"
    assert find_dsn(environment={"PGHOST": "h"}) == ""


def test_no_database_named_anywhere_is_an_error_with_the_next_step() -> None:
    """The hint names the variable and the server that needs no installation."""
    with pytest.raises(ConfigurationError) as caught:
        find_dsn(environment={})

    assert "PGQUEUE_DSN" in str(caught.value)
    assert "pgqueue embedded start" in str(caught.value)


@pytest.mark.parametrize(
    "dsn", ["postgresql://u:geheim%zz@h/db", "host=h password=ge heim", "geheim", "geheim=1"]
)
def test_a_dsn_that_cannot_be_read_is_never_quoted(dsn: str) -> None:
    """Libpq quotes the part that it cannot read, which may be the password."""
    with pytest.raises(ConfigurationError) as caught:
        full_dsn(dsn, environment={})

    assert "geheim" not in str(caught.value)
    assert "heim" not in describe_dsn(dsn)


def test_what_the_dsn_leaves_open_is_filled_in() -> None:
    """Deadlines for connecting, for dead networks, and for statements."""
    params = conninfo_to_dict(full_dsn("host=h", environment={}))

    assert params["connect_timeout"] == "10"
    assert params["application_name"] == "pgqueue"
    assert [params["keepalives_idle"], params["keepalives_interval"]] == ["30", "10"]
    assert [params["keepalives_count"], params["tcp_user_timeout"]] == ["3", "30000"]
    assert params["options"] == (
        "-c statement_timeout=30000 -c lock_timeout=10000"
        " -c idle_in_transaction_session_timeout=60000"
        " -c tcp_keepalives_idle=30 -c tcp_keepalives_interval=10 -c tcp_keepalives_count=3"
        " -c tcp_user_timeout=30000 -c jit=off"
        " -c default_transaction_isolation=read\\ committed"
    )


def test_what_the_dsn_says_wins_except_over_the_isolation() -> None:
    """Its options stand after ours, where the server takes the last; the isolation stands last."""
    dsn = "host=h connect_timeout=3 application_name=me options='-c statement_timeout=1s'"
    params = conninfo_to_dict(full_dsn(dsn, application_name="other", environment={}))

    assert [params["connect_timeout"], params["application_name"]] == ["3", "me"]
    options = str(params["options"])
    assert options.index("statement_timeout=30000") < options.index("statement_timeout=1s")
    assert options.endswith("default_transaction_isolation=read\\ committed")


def test_libpqs_variables_are_not_overridden() -> None:
    """A parameter in the conninfo would beat the variable."""
    environment = {"PGCONNECT_TIMEOUT": "2", "PGAPPNAME": "me", "PGOPTIONS": "-c geqo=off"}
    params = conninfo_to_dict(full_dsn("", environment=environment))

    assert "connect_timeout" not in params
    assert "application_name" not in params
    assert "-c geqo=off" in str(params["options"])


def test_behind_a_pooler_no_options_are_sent() -> None:
    """PgBouncer refuses a connection that brings startup parameters which it does not know."""
    assert "options" not in conninfo_to_dict(full_dsn("host=h", pooler=True, environment={}))
    assert wants_pooler({"PGQUEUE_POOLER": "1"})
    assert not wants_pooler({"PGQUEUE_POOLER": "0"})
    assert not wants_pooler({})


def test_a_label_tells_where_without_secrets() -> None:
    """For messages and logs."""
    assert describe_dsn("postgresql://u:geheim@h:1/db") == "u@h:1/db"


def test_no_statement_limit_means_no_deadline() -> None:
    """Else the application's deadline lies above the server's."""
    assert Timeouts(statement=0).call is None
    assert Timeouts(statement=10).call == 15.0
