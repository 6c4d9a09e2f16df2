"""
How fast bulk_import is, and how much memory it takes: a server, a worker process, a large file.

    python -m workers.warehouse.measure --rows 1000000

Uses an embedded server, or the one that PGQUEUE_DSN names, as it is set up.
"""

from __future__ import annotations

import json
import re
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pgqueue.applications import find_application
from pgqueue.connection import connect
from pgqueue.demo import expect, say, step
from pgqueue.demo.stage import open_stage

if TYPE_CHECKING:
    from pgqueue.demo import Job, Stage
    from pgqueue.demo.process import WorkerProcess

_SMALL = 10_000
_SETTINGS = "select name || ' ' || setting from pg_settings where name = any (%s) order by 1"
_NAMES = ["server_version", "fsync", "synchronous_commit", "full_page_writes", "wal_compression"]


@click.command()
@click.option("--rows", default=1_000_000, show_default=True, help="Lines of the file.")
def main(rows: int) -> None:
    """Import a file of products twice, and stock levels for them."""
    with (
        tempfile.TemporaryDirectory(prefix="warehouse-") as folder,
        open_stage(find_application("workers.warehouse")) as stage,
    ):
        root = Path(folder)
        with step(f"Write files of {_SMALL} and of {rows} lines"):
            (root / "acme").mkdir()
            for name, count in (("small", _SMALL), ("large", rows)):
                _write(root / "acme", name, count)
        with stage.working({"WAREHOUSE_IMPORT_ROOT": folder}) as worker:
            measured = [
                _measured(stage, worker, done, what, payload, root)
                for done, (what, payload) in enumerate(
                    (
                        ("small file", {"kind": "products", "path": "small.csv"}),
                        ("products, new", {"kind": "products", "path": "large.csv"}),
                        ("products, the same again", {"kind": "products", "path": "large.csv"}),
                        ("stock levels, new", {"kind": "stock_levels", "path": "large.jsonl"}),
                    )
                )
            ]
        with connect(stage.dsn) as connection:
            settings = connection.execute(_SETTINGS, [_NAMES]).fetchall()
        say("\n" + "\n".join(measured))
        say(", ".join(setting for (setting,) in settings))


def _write(folder: Path, name: str, rows: int) -> None:
    with (folder / f"{name}.csv").open("w") as products:
        products.write("sku,name,price,unit\n")
        products.writelines(
            f"SKU-{n:07d},Article number {n},{n % 1000}.{n % 100:02d},piece\n" for n in range(rows)
        )
    with (folder / f"{name}.jsonl").open("w") as stock:
        stock.writelines(
            f'{{"sku": "SKU-{n:07d}", "location": "A-{n % 10}", "quantity": {n % 1000}}}\n'
            for n in range(rows)
        )


def _measured(
    stage: Stage,
    worker: WorkerProcess,
    done: int,
    what: str,
    payload: dict[str, str],
    root: Path,
) -> str:
    with step(f"Import: {what}"):
        with connect(stage.dsn) as connection:
            began = time.monotonic()
            connection.execute(
                "insert into pgqueue.jobs (job_type, payload, tenant_id)"
                " values ('bulk_import', %s::jsonb, 'acme')",
                [json.dumps(payload)],
            )
        jobs = stage.wait(worker, earlier=done)
        seconds = time.monotonic() - began
    expect(jobs, bulk_import="succeeded")
    return _told(what, jobs[0], seconds, root / "acme" / payload["path"], worker)


def _told(what: str, job: Job, seconds: float, path: Path, worker: WorkerProcess) -> str:
    rows = job.result["rows"]
    peak = _peak_mebibytes(worker.process.pid)
    return (
        f"{what}: {rows:,} rows ({path.stat().st_size / 1e6:.0f} MB) in {seconds:.1f} s,"
        f" {rows / seconds:,.0f} rows/s; peak RSS of the importing process"
        f" {'unknown' if peak is None else f'{peak:.0f} MiB'}"
    )


def _peak_mebibytes(worker: int) -> float | None:
    """The largest child's high-water mark; Linux only."""
    try:
        children = Path(f"/proc/{worker}/task/{worker}/children").read_text("ascii").split()
        peaks = [
            re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{child}/status").read_text("utf-8"))
            for child in children
        ]
    except OSError:
        return None
    return max((int(peak[1]) / 1024 for peak in peaks if peak), default=None)


if __name__ == "__main__":
    main()
