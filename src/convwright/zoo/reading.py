"""Networks named by an expression, a file or a run directory."""

import os
from pathlib import Path

from convwright.arch import Network, expression
from convwright.arch.expression import load_network
from convwright.errors import ConvwrightError, NetworkError

FILE = "network.json"
"""Name of the network's file in a run directory."""


def read_network(text: str) -> Network:
    """Return the network of an expression, in which a file or a run directory may take the place of the name.

    Operators apply to files as they do to names: `runs/a/network.json|scale:d=1.2`.

    Raises:
        NetworkError: The text names no network, or the file holds none.
    """
    name, *operations = text.split("|")
    path = Path(name.strip())
    if not _is_place(name, path):
        return expression.network(text)
    network = load_network(path / FILE if path.is_dir() else path)
    for operation in operations:
        network = expression.apply(network, operation)
    return network


def is_network(text: str) -> bool:
    """Return whether a text is the name of a network of the zoo."""
    try:
        expression.network(text)
    except NetworkError:
        return False
    return True


def _is_place(name: str, path: Path) -> bool:
    """Whether a name means a file or folder. A folder `resnet50` hides the network only if it is a run."""
    written_as_path = "/" in name or os.sep in name
    return path.suffix == ".json" or (path / FILE).is_file() or (written_as_path and path.exists())


def describes(expression: str, network: Network) -> bool:
    """Return whether an expression, or the file that it names, gives exactly this network."""
    try:
        return read_network(expression) == network
    except ConvwrightError:
        return False
