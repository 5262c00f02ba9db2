"""Networks named by an expression, a file or a run directory."""

from convwright.arch import Network
from convwright.arch.expression import NETWORK_FILE as FILE
from convwright.arch.expression import as_network as read_network
from convwright.arch.expression import chooses_resolution, is_place, named_network
from convwright.errors import ConvwrightError, NetworkError

__all__ = ["FILE", "chooses_resolution", "describes", "is_network", "is_place", "read_network"]


def is_network(text: str) -> bool:
    """Return whether a text is the name of a network of the zoo."""
    try:
        named_network(text)
    except NetworkError:
        return False
    return True


def describes(expression: str, network: Network) -> bool:
    """Return whether an expression, or the file that it names, gives exactly this network."""
    try:
        return read_network(expression) == network
    except ConvwrightError:
        return False
