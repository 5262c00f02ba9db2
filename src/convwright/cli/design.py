"""`convwright design`."""

from convwright.api.designs import design as run_design
from convwright.cli.generate import command
from convwright.designing.result import DesignResult
from convwright.errors import ConvwrightError


def check(result: DesignResult) -> None:
    """Fail where the exported file does not keep the budget."""
    if result.failure:
        raise ConvwrightError(result.failure)


design = command(run_design, name="design", arguments=("data",), after=check)
