"""`convwright design`."""

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

from convwright.api.designs import design as run_design
from convwright.cli.generate import command
from convwright.cli.one_command import IS_ONE_COMMAND
from convwright.errors import ConvwrightError

if TYPE_CHECKING:
    from convwright.designing.result import DesignResult


def check(result: "DesignResult") -> None:
    """Fail where the exported file exceeds the budget."""
    if result.failure:
        raise ConvwrightError(result.failure)


def design_in_process_time(function: Callable[..., "DesignResult"], **values: Any) -> "DesignResult":
    """Run a design and count the start-up and exit of this process as its time, if it was started for this command."""
    from convwright.designing.clock import counting_process_time

    with counting_process_time() if IS_ONE_COMMAND.get() else nullcontext():
        return function(**values)


design = command(
    run_design, name="design", arguments=("data",), call=partial(design_in_process_time, run_design), after=check
)
