"""`convwright reproduce`."""

from typing import TYPE_CHECKING

from convwright.api.reports import reproduce as reproduce_papers
from convwright.cli.generate import command
from convwright.errors import ConvwrightError

if TYPE_CHECKING:
    from convwright.reproduction import Reproduction


def _fail_if_wrong(result: "Reproduction") -> None:
    if result.wrong:
        subjects = ", ".join(outcome.claim.subject for outcome in result.wrong[:3])
        raise ConvwrightError(f"{len(result.wrong)} figures are wrong: {subjects}")


reproduce = command(reproduce_papers, name="reproduce", arguments=("paper",), html=True, after=_fail_if_wrong)
