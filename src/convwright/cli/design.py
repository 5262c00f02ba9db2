"""`convwright design`."""

from typing import TYPE_CHECKING

from convwright.api.designs import design as run_design
from convwright.cli.generate import command
from convwright.errors import ConvwrightError

if TYPE_CHECKING:
    from convwright.designing.result import DesignResult


def check(result: "DesignResult") -> None:
    """Fail where the exported file exceeds the budget."""
    if result.failure:
        raise ConvwrightError(result.failure)


design = command(run_design, name="design", arguments=("data",), after=check)
