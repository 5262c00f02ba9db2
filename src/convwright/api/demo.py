"""The demonstration: a network designed for real images in four minutes."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from convwright.bounds import DURATION
from convwright.options import checks_arguments

if TYPE_CHECKING:
    from convwright.designing.result import DesignResult

BUDGET = "params<=500k, macs<=20M"
MINUTES = 4.0


@checks_arguments
def demo(
    minutes: Annotated[float, DURATION] = MINUTES, data: str | None = None, out: str | Path = Path("demo")
) -> "DesignResult":
    """Design a network for real images: a race of the three papers' families within 500,000 parameters and 20 M MACs.

    It is `cw.design` with preset data, budget and time. Stopped or killed at any moment, the same call continues; a
    finished demonstration is shown again.

    Args:
        minutes: Time of the whole design.
        data: Fashion-MNIST if this machine has it or can download it, else digits; or any data that `cw.train` takes.
        out: Folder of the design.

    Returns:
        The network with its accuracy, its file and its dossier.

    Raises:
        ArgumentError: The folder holds other files, or a design of other data.
        DataError: The data cannot be opened.

    Example:
        >>> cw.demo(minutes=1, data="digits", out="demo").dossier  # doctest: +SKIP
        PosixPath('demo/dossier.html')
    """
    from convwright.api.designs import design
    from convwright.designing.state import STATE, State
    from convwright.errors import ArgumentError
    from convwright.places import check_folder

    folder = Path(out)
    check_folder("out", folder)
    if (folder / STATE).exists():
        known = State.open(folder).request["data"]
        if data is not None and data != known:
            raise ArgumentError("out", f"{folder} holds a design for {known}; give another folder")
        return design(resume=folder)
    from convwright.data.builtin import best_source

    return design(data or best_source(), BUDGET, minutes=minutes, out=folder)
