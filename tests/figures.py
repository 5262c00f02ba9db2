"""Figures of long tests, printed when they have ended, also those of parallel workers."""

import pytest


def print_figures(reporter: pytest.TerminalReporter, name: str) -> None:
    """Print what tests have recorded as a property.

    Args:
        reporter: Where to print.
        name: The property.
    """
    reporter.section(name)
    for reports in reporter.stats.values():
        for report in reports:
            if getattr(report, "when", None) == "teardown":  # the last report of a test has all properties
                for key, value in report.user_properties:
                    if key == name:
                        reporter.line(f"{value}  {report.nodeid.rpartition('::')[2]}")
