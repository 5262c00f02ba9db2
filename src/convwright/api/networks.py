"""Networks: listed, described, counted, drawn, changed and built."""

import sys
from typing import TYPE_CHECKING, Any, TypeGuard, overload

from convwright import arch
from convwright.arch import Cost, Network, at, compound, fit_resolution, scale
from convwright.arch.cost import cost as network_cost
from convwright.arch.expression import as_network, network
from convwright.arch.registry import register
from convwright.options import verb
from convwright.zoo.listing import NetworkList, list_networks

if TYPE_CHECKING:
    from torch import nn

    from convwright.modules.foreign import ModuleCost

__all__ = [
    "at",
    "compound",
    "cost",
    "draw",
    "fit_resolution",
    "models",
    "network",
    "recalibrate",
    "register",
    "scale",
]


@verb
def models(pattern: str = "") -> NetworkList:
    """List the networks of the zoo by family, with their cost and published results.

    Args:
        pattern: Part of a name or family, a pattern such as `*resnet50*`, or an expression; all networks by default.

    Returns:
        The networks, in the order of their papers; `str` of it is a table.

    Raises:
        UsageError: No network matches the pattern.

    Example:
        >>> [each.network.name for each in cw.models("cifar_seresnet20")]
        ['cifar_seresnet20']
    """
    return list_networks(pattern)


@overload
def cost(network: Network | str, resolution: int | None = None, **options: Any) -> Cost: ...
@overload
def cost(network: "nn.Module", resolution: int | None = None, **options: Any) -> "ModuleCost": ...
def cost(network: "Network | str | nn.Module", resolution: int | None = None, **options: Any) -> "Cost | ModuleCost":
    """Count what a network costs: parameters, multiply-adds (MACs), activations and peak memory.

    Args:
        network: Network, expression or torch module.
        resolution: Height and width of the images in pixels; the network's own by default, 224 for a torch module.
        options: `classes` and `channels` of a network; of a torch module, what `convwright.modules.foreign.cost` takes.

    Returns:
        The cost in total and by stage; of a torch module in total and by module.

    Raises:
        NetworkError: The value is no network, or the network cannot read images of this size.

    Example:
        >>> cw.cost("resnet50").macs
        4089184256
    """
    if _is_module(network):
        from convwright.modules import foreign

        return foreign.cost(network, 224 if resolution is None else resolution, **options)
    return network_cost(as_network(network), resolution, **options)


@overload
def recalibrate(network: Network | str, *arguments: Any, **options: Any) -> Network: ...
@overload
def recalibrate(network: "nn.Module", *arguments: Any, **options: Any) -> "nn.Module": ...
def recalibrate(network: "Network | str | nn.Module", *arguments: Any, **options: Any) -> "Network | nn.Module":
    """Put squeeze-and-excitation into a network, or into any torch module, which keeps its weights.

    Args:
        network: Network, expression or torch module.
        arguments: The reduction ratio.
        options: What `convwright.arch.recalibrate` or `convwright.modules.foreign.recalibrate` takes.

    Returns:
        A new network, or a new module.

    Raises:
        NetworkError: The value is no network, or has no place for squeeze-and-excitation.

    Example:
        >>> cw.recalibrate("resnet18", 16).name
        'resnet18|se:16'
    """
    if _is_module(network):
        from convwright.modules import foreign

        return foreign.recalibrate(network, *arguments, **options)
    return arch.recalibrate(as_network(network), *arguments, **options)


def draw(network: Network | str) -> str:
    """Draw a network: its stages, and the inside of each kind of block.

    Args:
        network: Network or expression.

    Returns:
        The drawing as SVG text.

    Raises:
        NetworkError: The value is no network.

    Example:
        >>> cw.draw("resnet18").startswith("<svg")
        True
    """
    from convwright.arch.diagram import diagram

    return diagram(as_network(network))


def _is_module(value: object) -> "TypeGuard[nn.Module]":
    """Return whether a value is a torch module, without importing torch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.nn.Module)
