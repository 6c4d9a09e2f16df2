"""
Who may do what: the whole matrix of roles and objects, against a list that was written on its own.

Whatever is neither here nor in `_INTERNAL` fails: a new function or view needs a decision.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.sqljobs import column, insert, job_in, sqlstate_of

if TYPE_CHECKING:
    from tests.conftest import Connect
    from tests.support.sqljobs import Db

_ROLES = ("pgqueue_producer", "pgqueue_worker", "pgqueue_viewer", "pgqueue_operator")
_P, _W, _V, _O = _ROLES


def _set(names: str) -> set[str]:
    return set(names.split())


# Roles -> the functions that exactly they may call.
_CALLS = {
    (_P, _W, _V, _O): _set("schema_version current_tenant parent_results signals_of"),
    (_P,): _set("uuid_v7 take_completions ack_completions signal_by_token"),
    (_P, _W): _set("enqueue enqueue_many open_batch signal_token"),
    (_P, _W, _O): _set("close_batch signal"),
    (_P, _O): _set("cancel"),
    (_P, _V, _O): _set("why_waiting workflow"),
    (_V, _O): _set(
        """next_tick next_ticks verify drift stats_bounds stats_quantile ready_depth
        ready_types tenant_numbers"""
    ),
    (_W,): _set(
        """register_limits
        register_worker register_job_types register_schedules heartbeat stop_worker
        release_strays live_workers rest leave claim claim_job exchange report complete fail
        snooze release cancel_running progress extend settle sign_callback pause_until
        add_to_batch"""
    ),
    (_W, _O): _set(
        """maintain promote age_waiting rescue expire retain merge_stats forget_workers
        run_schedules
        forget_schedule_runs mark_lanes count_tenants tend_limits look_at_signals merge_batches
        forget_batches run_hooks"""
    ),
    (_O,): _set(
        """retry redrive reschedule reprioritise purge_queue pause_queue resume_queue
        pause_job_type resume_job_type drain_worker set_job_type set_settings set_schedule
        pause_schedule resume_schedule remove_schedule run_schedule_now add_callback_secret
        remove_callback_secret set_tenant_weight set_tenant_quota set_limit drop_limit
        skip_ordered"""
    ),
}
# Called by our own functions and triggers, or by the schema's owner.
_INTERNAL = (
    _set(
        """after_finish app_migrated app_opened attempts_allowed backoff callback_host
    cancel_waiting catalogue circles
    check_acyclic check_enqueue check_given check_isolation check_job check_time_zone check_worker
    clock_change complete_owned completed_status confine count_outcome cron_dom cron_dow
    cron_field cron_fields cron_parse cron_time cron_wall disable_tenants effective_queue
    enable_tenants end_attempt ended_status enqueue_callbacks enqueue_tick error_object
    finish_running finish_waiting first_flags first_queue guard_deleted guard_truncate
    guard_unique_key
    guard_worker_deleted hmac_sha256 hold_again hold_dependents inbox_inserted
    insert_follow_up insert_many insert_one job_limit jobs_of latest_ticks lock_keyed_jobs
    mark_parents mark_places merge_payloads note_unknown notice_flags outcome_problem parse_outcomes
    next_opening place promote_due raise_lease_lost refuse_job_type refuse_limit
    refused_outcome release_dependents
    report_other request_cancel resolve_names ring route_inserted route_updated run_schedule
    run_tick seconds serve_duplicate settle_dependents small_json store_created take_back
    tell ticks_within trace_headers try_release unconfine utc_offset why_dependent why_held
    why_nobody
    why_ready call_back check_batch check_signal count_in_batches headers_with_signals
    insert_inside join_batch look_at_batch look_at_signal read_signal_token retry_paused
    settle_batch store_signal wait_for_batch ask_hooks call_hook check_hook drop_hook
    redrive_round refused_of
    finish_hooked forget_failures hold_back hooks_of may_move
    raise_no_schedule refuse_check refused_status retry_one ring_all set_hook settle_hooks move_each
    move_one take_to_wait tell_hooks uncount_success unhold"""
    )
    | _set(
        """fit_turns place_anew set_fairness settled_pos take_turn check_quota enforce_quotas
    enforce_quotas_updated fit_quotas"""
    )
    | _set(
        """adopt_running change_limit
    claim_limited enter_order forget_names gate_room gates_of hold_gates leave_gates
    leave_order leave_places may_be_limited note_limit
    let_out open_gates open_later open_limit park pick_ready parents_first reopen_gates
    rows_at settle_gates start_limiting store_limit take_tokens weigh why_hooked why_parked"""
    )
    | _set("leap_tokens next_token")
)
_VIEWS = _set(
    """batch_status failed_jobs health inbox job_status job_timeline job_type_stats limit_status
    queue_stats
    ready_lanes running_jobs schedule_history schedule_status stats_recent tenant_stats unhandled
    worker_status"""
)
_TABLES = _set(
    """app_migrations attempts batch_log batches blocked callback_secrets completions dependencies
    finished hook_calls hooks installed_objects maintenance_failures
    job_results job_types jobs migrations queues ready running schedule_runs scheduled schedules
    settings signal_secret signals stats stats_log tenants workers"""
) | _set(
    """lane_marks tenant_counts tenant_jobs tenant_settings
    gate_buckets limits openings ordered_jobs slots token_marks"""
)
_PRODUCER_INSERTS = _set(
    """id job_type queue priority payload run_at expires_at max_attempts timeout idempotency_key
    unique_key tenant_id headers notify feed callback_url depends_on on_parent_failure
    concurrency_key ordering_key ordering_on_failure batch_id
    deadline_at"""
)
# What a producer never reads, of the tables that stand below job_status.
_HIDDEN_FROM_PRODUCER = {
    "jobs": _set("payload headers"),
    "ready": _set("priority pos job_type flags expires_at tenant_id"),
    "scheduled": _set("priority job_type flags expires_at"),
    "blocked": _set("run_at priority job_type flags expires_at gate pos look_at on_timeout"),
    "batches": _set("log_floor on_success on_failure on_complete"),
    "batch_log": _set(""),
    "batch_status": _set(""),
    "running": _set("token priority job_type flags deadline_at"),
    "finished": _set("token taken_back"),
    "attempts": _set(""),
    "job_results": _set(""),
    "workers": _set(
        """instance queues job_types lease started_at heartbeat_at draining_at stopped_at dead_at
        rescued_at meta"""
    ),
    "job_types": _set(
        """paused_at paused_reason timeout backoff_base backoff_factor backoff_cap retention
        operator_managed registered_at detour plain"""
    ),
    "settings": _set(
        "strict_job_types backoff_base backoff_factor backoff_cap retention timeout_grace"
        " limited limited_names aging"
    ),
    "job_status": _set(""),
    "job_timeline": _set(""),
    "inbox": _set(""),
}


def _may(db: Db, query: str) -> set[tuple[str, ...]]:
    """Rows of *query* for each role."""
    return {
        (role, *found)
        for role in _ROLES
        for found in db.execute(query.replace("{role}", role)).fetchall()
    }


def test_each_function_is_for_exactly_these_roles(db: Db) -> None:
    """Every one of the schema: granted as listed, or internal and granted to nobody."""
    found = _may(
        db,
        "select proname from pg_proc where pronamespace = 'pgqueue'::regnamespace"
        " and has_function_privilege('{role}', oid, 'execute')",
    )

    assert found == {
        (role, name) for roles, names in _CALLS.items() for role in roles for name in names
    }


def test_every_function_is_granted_or_internal_on_purpose(db: Db) -> None:
    """A new function fails here until somebody has decided."""
    found = set(
        column(db, "select proname from pg_proc where pronamespace = 'pgqueue'::regnamespace")
    )

    assert found - _INTERNAL - set().union(*_CALLS.values()) == set()


def test_no_role_may_write_a_table(db: Db) -> None:
    """But a producer may insert into these columns of jobs."""
    found = _may(
        db,
        "select c.relname, a.attname, p from pg_class c join pg_attribute a on a.attrelid = c.oid,"
        " unnest('{insert,update,references}'::text[]) p"
        " where c.relnamespace = 'pgqueue'::regnamespace and c.relkind in ('r', 'v', 'p')"
        " and a.attnum > 0 and has_column_privilege('{role}', c.oid, a.attnum, p)",
    )
    whole = _may(
        db,
        "select c.relname, p from pg_class c,"
        " unnest('{insert,update,delete,truncate,references,trigger}'::text[]) p"
        " where c.relnamespace = 'pgqueue'::regnamespace and c.relkind in ('r', 'v', 'p')"
        " and has_table_privilege('{role}', c.oid, p)",
    )

    assert found == {(_P, "jobs", name, "insert") for name in _PRODUCER_INSERTS} | {
        (_P, "inbox", name, "insert") for name in _PRODUCER_INSERTS | {"on_duplicate"}
    }
    assert whole == set()


def test_each_column_is_read_by_exactly_these_roles(db: Db) -> None:
    """Viewers and operators everything, workers nothing, producers what tells how a job fares."""
    query = (
        "select c.relname, a.attname from pg_class c join pg_attribute a on a.attrelid = c.oid"
        " where c.relnamespace = 'pgqueue'::regnamespace and c.relkind in ('r', 'v', 'p')"
        " and a.attnum > 0 and not a.attisdropped"
    )
    everything = {(table, name) for table, name in db.execute(query).fetchall()}
    found = _may(db, query + " and has_column_privilege('{role}', c.oid, a.attnum, 'select')")
    secrets = {("callback_secrets", "secret"), ("signal_secret", "secret")}
    wanted = {(role, *one) for role in (_V, _O) for one in everything - secrets} | {
        (_P, table, name)
        for table, name in everything
        if name not in _HIDDEN_FROM_PRODUCER.get(table, {name})
    }

    assert {table for table, _ in everything} == _VIEWS | _TABLES
    assert found == wanted


def test_no_role_may_use_a_sequence_or_create_anything(db: Db) -> None:
    """Tokens and positions are drawn by functions; the schema is the owner's."""
    found = _may(
        db,
        "select c.relname, p from pg_class c, unnest('{usage,select,update}'::text[]) p"
        " where c.relnamespace = 'pgqueue'::regnamespace and c.relkind = 'S'"
        " and has_sequence_privilege('{role}', c.oid, p)"
        " union all"
        " select 'schema', 'create' where has_schema_privilege('{role}', 'pgqueue', 'create')",
    )

    assert found == set()


def test_no_role_is_a_member_of_another(db: Db) -> None:
    """Nor of the owner: SET ROLE leads nowhere."""
    found = column(
        db,
        "select m.roleid::regrole || ' to ' || m.member::regrole from pg_auth_members m"
        " where m.member::regrole::text = any (%s)",
        [*_ROLES, "pgqueue_owner"],
    )

    assert found == []


def test_a_producer_can_insert_as_the_contract_says(db: Db, connect: Connect) -> None:
    """Plain, RETURNING, multi-row, ON CONFLICT DO NOTHING with and without target, COPY."""
    producer = connect(role=_P)
    first = insert(producer, payload={"a": 1}, idempotency_key="i")
    again = producer.execute(
        "insert into pgqueue.jobs (job_type, idempotency_key) values ('t', 'i')"
        " on conflict do nothing returning id"
    ).fetchall()
    named = producer.execute(
        "insert into pgqueue.jobs (job_type, idempotency_key) values ('t', 'i')"
        " on conflict (tenant_id, idempotency_key) where idempotency_key is not null do nothing"
        " returning id, created_at, created_by"
    ).fetchall()
    with producer.cursor().copy("copy pgqueue.jobs (job_type, payload) from stdin") as copy:
        copy.write_row(("t", "{}"))
    seen = column(producer, "select status from pgqueue.job_status")

    assert (again, named) == ([], [])
    assert seen == ["queued", "queued"]
    assert first in column(db, "select job_id from pgqueue.ready")


def test_a_producer_sees_how_a_job_fares_but_not_what_is_in_it(db: Db, connect: Connect) -> None:
    """job_status and job_timeline in full; payloads and headers not, of its own jobs neither."""
    producer = connect(role=_P)
    job = job_in(db, "partial")

    assert column(producer, "select status from pgqueue.job_status") == ["partial"]
    assert len(column(producer, "select event from pgqueue.job_timeline")) == 3
    assert "finished: partial" in column(producer, "select pgqueue.why_waiting(%s)", job.job_id)[0]
    assert sqlstate_of(producer, "select payload from pgqueue.jobs") == "42501"
    assert sqlstate_of(producer, "select headers from pgqueue.jobs") == "42501"
    assert sqlstate_of(producer, "select * from pgqueue.queue_stats") == "42501"
    assert sqlstate_of(producer, "select token from pgqueue.running") == "42501"


def test_a_worker_lives_by_functions_alone(db: Db, connect: Connect) -> None:
    """Register, claim, report, maintain, stop: and not one table is open to it."""
    worker = connect(role=_W)
    insert(db)
    worker.execute("""select pgqueue.register_job_types('[{"job_type": "t"}]')""")
    (by,) = column(worker, "select pgqueue.register_worker('w')")
    claimed = worker.execute(
        "select job_id, token from pgqueue.claim(%s, '{default}', 1)", (by,)
    ).fetchone()
    worker.execute("select * from pgqueue.heartbeat(%s)", (by,))
    worker.execute("select pgqueue.progress(%s, %s, 50)", claimed)
    worker.execute("select pgqueue.complete(%s, %s)", claimed)
    worker.execute("select * from pgqueue.rest('{default}')")
    worker.execute("select pgqueue.leave('{default}')")
    worker.execute("select * from pgqueue.maintain()")
    worker.execute("select pgqueue.stop_worker(%s)", (by,))

    assert column(db, "select status from pgqueue.job_status") == ["succeeded"]
    assert sqlstate_of(worker, "select from pgqueue.jobs") == "42501"
    assert sqlstate_of(worker, "select from pgqueue.job_status") == "42501"


@pytest.mark.parametrize("view", sorted(_VIEWS))
@pytest.mark.parametrize("role", [_V, _O])
def test_viewers_and_operators_can_read_each_view(connect: Connect, role: str, view: str) -> None:
    """The views read with the caller's rights: all below them is granted too."""
    assert sqlstate_of(connect(role=role), f"select * from pgqueue.{view}") is None


def test_an_operator_moves_jobs_and_a_viewer_does_not(db: Db, connect: Connect) -> None:
    """By function; neither by UPDATE."""
    job = job_in(db, "failed")
    operator, viewer = connect(role=_O), connect(role=_V)

    assert sqlstate_of(viewer, "select pgqueue.retry(%s)", job.job_id) == "42501"
    assert sqlstate_of(operator, "select pgqueue.retry(%s)", job.job_id) is None
    assert sqlstate_of(operator, "select pgqueue.cancel(%s)", job.job_id) is None
    assert sqlstate_of(operator, "update pgqueue.jobs set priority = 0") == "42501"
    assert sqlstate_of(operator, "delete from pgqueue.jobs") == "42501"
