from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pgqueue.migrate_app import migrate_app
from tests.workers.warehouse.stage import APP, Warehouse

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.sqljobs import Db


@pytest.fixture
def warehouse(dsn: str, db: Db, tmp_path: Path) -> Warehouse:
    """The application installed, a folder for files and one for reports."""
    migrate_app(APP, dsn)
    root, reports = tmp_path / "files", tmp_path / "reports"
    root.mkdir()
    environment = {
        "PGQUEUE_DSN": dsn,
        "WAREHOUSE_IMPORT_ROOT": str(root),
        "WAREHOUSE_REPORT_ROOT": str(reports),
        "WAREHOUSE_CHUNK_ROWS": "1000",
    }
    return Warehouse(dsn, db, tmp_path, root, reports, environment)
