"""`convwright design`."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from convwright.api.designs import design as run_design
from convwright.cli.generate import command
from convwright.cli.process_age import start_up_seconds
from convwright.errors import ConvwrightError

if TYPE_CHECKING:
    from convwright.designing.result import DesignResult


def check(result: "DesignResult") -> None:
    """Fail where the exported file exceeds the budget."""
    if result.failure:
        raise ConvwrightError(result.failure)


def whole_process(function: Callable[..., "DesignResult"], **values: Any) -> "DesignResult":
    """Call a design whose time is that of this process, from its start to its end."""
    from convwright.designing.clock import started_before

    with started_before(start_up_seconds()):
        return function(**values)


design = command(run_design, name="design", arguments=("data",), call=partial(whole_process, run_design), after=check)
