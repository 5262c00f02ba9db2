"""`convwright demo`."""

from convwright.api.demo import FAMILIES
from convwright.api.demo import Demo as DemoResult
from convwright.api.demo import demo as train_families
from convwright.cli.generate import command
from convwright.cli.output import echo
from convwright.display.progress import print_progress
from convwright.printable import quoted


def show(result: DemoResult) -> None:
    """Print the table, and what to try next."""
    echo(str(result))
    print_progress(f"try: convwright show {quoted(FAMILIES[0].expression)}")


demo = command(train_families, name="demo", show=show)
