"""`convwright report`."""

from pathlib import Path

from convwright.api.reports import report as report_on
from convwright.cli.generate import command
from convwright.cli.output import echo, print_json

PAGE = Path("report.html")


def _write(*, as_json: bool, **options: object) -> None:
    """Write the page, `report.html` where no other is named, or none with `--json`; print the report."""
    if not as_json:
        options.setdefault("out", PAGE)
    found = report_on(**options)  # type: ignore[arg-type]
    if as_json:
        print_json(found.to_dict(), indent=1)
    else:
        echo(found)


report = command(report_on, name="report", arguments=("runs",), stream=_write)
