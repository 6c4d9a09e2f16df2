"""The rules by id: one line each; README has the same table, and a test compares them."""

from __future__ import annotations

RULES: dict[str, str] = {
    "unknown-column": "A column that pgqueue.jobs or pgqueue.inbox does not have.",
    "unwritable-column": "A column that the schema fills in itself.",
    "missing-job-type": "An INSERT that does not name job_type.",
    "no-column-list": "An INSERT without a column list: the next column of ours breaks it.",
    "values-count": "As many values as columns: these are more or fewer.",
    "null-value": "NULL for a column of pgqueue.jobs that refuses it: it overrides the default.",
    "text-into-jsonb": "A parameter for jsonb without a cast: 42804 from clients that send text.",
    "payload-json": "A payload or headers literal that is not a JSON object.",
    "payload-signature": "A payload literal that the handler of its job type refuses (--app).",
    "unknown-job-type": "A job type that nobody has declared (--app, --database).",
    "unknown-queue": "A queue that no worker and no job type names (--database).",
    "conflict-target": "An ON CONFLICT target that no unique index has.",
    "conflict-update": "ON CONFLICT DO UPDATE on jobs: 42501; enqueue() has on_duplicate.",
    "unknown-relation": "A table or view that the schema does not have.",
    "unknown-function": "A function that the schema does not have, or that is internal to it.",
    "function-arguments": "Arguments that the function does not have, or lacks.",
    "function-owned": "UPDATE, DELETE or TRUNCATE of what only functions move.",
    "hand-notify": "NOTIFY on our channel by hand: the INSERT rings when it must.",
    "interpolation": "A value pasted into the SQL text instead of passed as a parameter.",
    "unreadable": "SQL about pgqueue that cannot be parsed, and so is not checked.",
}
