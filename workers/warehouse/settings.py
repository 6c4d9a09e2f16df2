"""What the environment says, read once per job; and whose job it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from pgqueue import Fail
from workers.environment import Environment
from workers.http import Service

if TYPE_CHECKING:
    from pgqueue import JobContext

__all__ = ["Settings", "folder_of", "stock_service", "tenant_of"]

GIB = 1024 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """
    The settings of the application.

    Attributes:
        import_root: WAREHOUSE_IMPORT_ROOT; each tenant's files lie in a folder below. None: no
            import from paths.
        import_from: WAREHOUSE_IMPORT_FROM, such as `https://files.example.com/exports/`, several
            with commas: files come from addresses that begin so, and from no others.
        file_bytes_max: WAREHOUSE_FILE_BYTES_MAX; larger files are refused.
        file_seconds: WAREHOUSE_FILE_SECONDS; a download may take so long.
        chunk_rows: WAREHOUSE_CHUNK_ROWS; so many are stored, and the checkpoint moved, at once.
        report_root: WAREHOUSE_REPORT_ROOT; where reports go, a folder per tenant.
        report_url: WAREHOUSE_REPORT_URL; where readers find that folder. Empty: file://.
    """

    import_root: Path | None
    import_from: tuple[str, ...]
    file_bytes_max: int
    file_seconds: float
    chunk_rows: int
    report_root: Path | None
    report_url: str

    @classmethod
    def read(cls, environment: Environment | None = None) -> Settings:
        """
        Read the environment.

        Raises:
            ConfigurationError: A value makes no sense; names the variable.
        """
        given = environment or Environment("WAREHOUSE_")
        return cls(
            import_root=_folder(given, "IMPORT_ROOT"),
            import_from=given.words("IMPORT_FROM"),
            file_bytes_max=given.whole("FILE_BYTES_MAX", GIB, most=1024 * GIB),
            file_seconds=given.seconds("FILE_SECONDS", 600.0),
            chunk_rows=given.whole("CHUNK_ROWS", 10_000),
            report_root=_folder(given, "REPORT_ROOT"),
            report_url=given.text("REPORT_URL").rstrip("/"),
        )


def stock_service(environment: Environment | None = None) -> Service:
    """
    The API that sync_stock asks.

    WAREHOUSE_STOCK_URL is a must; WAREHOUSE_STOCK_KEY is sent as a bearer token, if there is one.

    Raises:
        ConfigurationError: The address is missing or none; names the variable.
    """
    given = environment or Environment("WAREHOUSE_")
    key = given.text("STOCK_KEY")
    return Service(
        name="stock API",
        url=given.url("STOCK_URL"),
        headers={"authorization": f"Bearer {key}"} if key else {},
    )


def tenant_of(ctx: JobContext) -> str:
    """
    Whose job this is: the row's tenant_id, which the payload cannot contradict.

    Raises:
        Fail: Nobody's.
    """
    if ctx.tenant is None:
        raise Fail("the job has no tenant: set tenant_id", code="tenant_missing")
    return ctx.tenant


def folder_of(tenant: str) -> str:
    """The name of a tenant's folder: one name whatever the tenant is called, `..` included."""
    return quote(tenant, safe="").replace(".", "%2E")


def _folder(given: Environment, name: str) -> Path | None:
    text = given.text(name)
    return Path(text).resolve() if text else None
