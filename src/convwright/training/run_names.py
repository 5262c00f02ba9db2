"""Names of new run directories."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

from convwright.arch import Network
from convwright.training.request import TrainRequest
from convwright.zoo.reading import describes

LONGEST_NAME = 100
"""Characters of a run directory's name that is made from the network and the data."""


def name_of_run(request: TrainRequest) -> str:
    """Return what the run directory of a request is named after: its network, if it has one, and its data."""
    data, network = Path(request.spec).name, request.network
    if "network" not in request.model_fields_set:
        return data
    if isinstance(network, Network):
        network = network.name if describes(network.name, network) else "network"
    return f"{network}-{data}"


def numbered_paths(name: str, end: str = "") -> Iterator[Path]:
    """Yield runs/NAME, runs/NAME-2, runs/NAME-3, and so on.

    Args:
        name: Name, in which characters that are not safe in paths are replaced.
        end: What follows it.
    """
    base = "".join(c if c.isalnum() or c in "-_." else "-" for c in name)[:LONGEST_NAME] + end
    yield Path("runs") / base
    yield from (Path("runs") / f"{base}-{number}" for number in count(2))
