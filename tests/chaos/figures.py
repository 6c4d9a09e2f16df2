"""A pytest plugin that prints what the scenarios measured: `pytest -p tests.chaos.figures`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

_WIDTH = 62


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print one line per figure, by test."""
    reports = [
        report
        for outcome in ("passed", "failed")
        for report in terminalreporter.stats.get(outcome, [])
        if getattr(report, "user_properties", None) and report.when == "call"
    ]
    if not reports:
        return
    terminalreporter.section("figures")
    for report in sorted(reports, key=lambda report: report.nodeid):
        terminalreporter.line(report.nodeid.partition("tests/chaos/")[2])
        for what, figure in report.user_properties:
            terminalreporter.line(f"    {what:<{_WIDTH}} {figure}")
