"""Networks as users name and read them: an expression or a file in; papers and printed figures out."""

import os
from pathlib import Path

from convwright.arch import Network, expression
from convwright.arch.expression import load_network
from convwright.errors import ConvwrightError, NetworkError

FILE = "network.json"
"""What a run directory calls its network."""


def read_network(text: str) -> Network:
    """Return what ``resnet50|se:16`` names, or a file, or a run directory in the place of the name.

    Operators apply to files as they do to names: ``runs/a/network.json|scale:d=1.2``.
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
    """A folder called ``resnet50`` does not hide the network, unless it is a run or written as a path."""
    written_as_path = "/" in name or os.sep in name
    return path.suffix == ".json" or (path / FILE).is_file() or (written_as_path and path.exists())


def describes(expression: str, network: Network) -> bool:
    """Return whether an expression, or the file that it names, gives exactly this network."""
    try:
        return read_network(expression) == network
    except ConvwrightError:
        return False
