"""Networks: listed, described, counted, drawn, changed and built."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeGuard, overload

from convwright import arch
from convwright.arch import Cost, Network, at, compound, fit_resolution, scale, truncate
from convwright.arch.cost import cost as network_cost
from convwright.arch.description import NetworkDescription
from convwright.arch.expression import NetworkLike, as_network, network
from convwright.arch.layers import Activation
from convwright.arch.registry import register
from convwright.arch.resolution import SIZE, Resolution
from convwright.bounds import COUNT
from convwright.errors import ArgumentError, NetworkError
from convwright.files import write_text
from convwright.options import checks_arguments
from convwright.zoo.listing import NetworkList, list_networks

if TYPE_CHECKING:
    from torch import nn

    from convwright.arch.diagram import Drawing
    from convwright.modules.foreign import ModuleCost
    from convwright.training.run import Run

__all__ = [
    "at",
    "compound",
    "cost",
    "describe",
    "draw",
    "fit_resolution",
    "models",
    "network",
    "recalibrate",
    "register",
    "scale",
    "truncate",
]


@checks_arguments
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


@checks_arguments
def describe(
    network: "Network | Run | str | Path",
    *,
    resolution: Annotated[Resolution | None, SIZE] = None,
    classes: Annotated[int | None, COUNT] = None,
    channels: Annotated[int | None, COUNT] = None,
    layers: bool = False,
    diagram: str | Path | None = None,
) -> NetworkDescription:
    """Show a network's stages: blocks, shapes, parameters, MACs, activations and memory.

    Args:
        network: A name with operators, such as 'resnet50|se:16|scale:d=1.2', a network.json, or a run.
        resolution: Height and width of the images, in pixels.
        classes: Number of classes.
        channels: Number of input channels.
        layers: Add a row for every layer.
        diagram: File for a drawing (SVG); on the command line, '-' prints the drawing instead of the table.

    Returns:
        The network with its cost; notebooks show the drawing too.

    Raises:
        NetworkError: The value is no network, or the network cannot read images of this size.
        ArgumentError: The drawing cannot be written.

    Example:
        >>> described = cw.describe("resnet50", resolution=128)
        >>> described.cost.params
        25557032
    """
    if diagram is not None:
        if str(diagram) == "-":
            raise ArgumentError("diagram", "'-' is for the command line; cw.draw returns the drawing")
        from convwright.arch.diagram import check_svg

        check_svg("diagram", Path(diagram))
    found = at(network, resolution=resolution, classes=classes, channels=channels)
    counted = network_cost(found)
    if diagram is not None:
        write_text(Path(diagram), str(found.draw()))
    return NetworkDescription(found, counted, layers, None if diagram is None else Path(diagram))


@overload
def cost(
    network: NetworkLike,
    resolution: Annotated[Resolution | None, SIZE] = None,
    *,
    classes: int | None = None,
    channels: int | None = None,
) -> Cost: ...
@overload
def cost(
    network: "nn.Module", resolution: Resolution | None = None, *, channels: int | None = None
) -> "ModuleCost": ...
def cost(
    network: "NetworkLike | nn.Module",
    resolution: Annotated[Resolution | None, SIZE] = None,
    *,
    classes: int | None = None,
    channels: int | None = None,
) -> "Cost | ModuleCost":
    """Count what a network costs: parameters, multiply-adds (MACs), activations and peak memory.

    Args:
        network: Network, expression, file of a network (`network.json`), run directory, run or torch module.
        resolution: Height and width of the images in pixels; the network's own by default, 224 for a torch module.
        classes: Number of classes of a network; its own by default.
        channels: Number of input channels; the network's own by default, 3 for a torch module.

    Returns:
        The cost in total and by stage; of a torch module by its parts, and without peak memory.

    Raises:
        NetworkError: The value is no network, or the network cannot read images of this size.

    Example:
        >>> cw.cost("resnet50").macs
        4089184256
    """
    if not _is_module(network):
        return network_cost(as_network(network), resolution, classes=classes, channels=channels)
    if classes is not None:
        raise NetworkError("classes: a torch module has its number of classes already")
    from convwright.modules import foreign

    return foreign.cost(
        network, 224 if resolution is None else resolution, channels=3 if channels is None else channels
    )


@overload
def recalibrate(
    network: NetworkLike,
    reduction: float | None = 16,
    *,
    placement: arch.Placement | None = None,
    stages: Sequence[int | str] | None = None,
    blocks: Sequence[str] | None = None,
    least: int | None = None,
    act: Activation | None = None,
    gate: Activation | None = None,
    of: str | None = None,
) -> Network: ...
@overload
def recalibrate(
    network: "nn.Module",
    reduction: float = 16,
    where: str | Sequence[str] | None = None,
    *,
    least: int | None = None,
    act: Activation | None = None,
    gate: Activation | None = None,
    resolution: Annotated[Resolution | None, SIZE] = None,
    channels: int | None = None,
    start: float | None = None,
) -> "nn.Module": ...
def recalibrate(
    network: "NetworkLike | nn.Module",
    reduction: float | None = 16,
    where: str | Sequence[str] | None = None,
    *,
    placement: arch.Placement | None = None,
    stages: Sequence[int | str] | None = None,
    blocks: Sequence[str] | None = None,
    least: int | None = None,
    act: Activation | None = None,
    gate: Activation | None = None,
    of: str | None = None,
    resolution: Annotated[Resolution | None, SIZE] = None,
    channels: int | None = None,
    start: float | None = None,
) -> "Network | nn.Module":
    """Put squeeze-and-excitation into a network, or into any torch module, which keeps its weights.

    Args:
        network: Network, expression, file of a network (`network.json`), run directory, run or torch module.
        reduction: Reduction ratio (SENet, section 3); None takes squeeze-and-excitation out of a network.
        where: Of a torch module: names of the modules whose output is gated. By default the last layer of each
            residual branch, each block that ends in a concatenation, and each dense layer.
        placement: Of a network: `standard`, `pre`, `post` or `identity` (SENet, section 6.5).
        stages: Of a network: names or numbers of the stages that are changed; all by default.
        blocks: Of a network: paths of the blocks that are changed, such as `stage2.block3`, instead of stages.
        least: Smallest squeezed width; 8 by default.
        act: Activation function of the squeezed width; `relu` by default.
        gate: Activation function of the gate; `sigmoid` by default.
        of: Of a network: whether the ratio divides the number of `gated` channels or that of the block's `input`.
        resolution: Of a torch module: height and width of an image that it can read; 224 by default.
        channels: Of a torch module: channels of such an image; 3 by default.
        start: Of a torch module: value of every gate at first, between 0 and 1; 0.99 by default, so that the output
            changes little.

    Returns:
        A new network, or a new module.

    Raises:
        NetworkError: The value is no network, has no place for squeeze-and-excitation, or an option is one of the
            other kind of network.

    Example:
        >>> cw.recalibrate("resnet18", 16).name
        'resnet18|se:16'
    """
    shared = {"least": least, "act": act, "gate": gate}
    of_network = {"placement": placement, "stages": stages, "blocks": blocks, "of": of}
    of_module = {"where": where, "resolution": resolution, "channels": channels, "start": start}
    is_module = _is_module(network)
    for name, value in (of_network if is_module else of_module).items():
        if value is not None:
            kind = "a Network or an expression" if is_module else "a torch module"
            raise NetworkError(f"{name}: only {kind} has this option")
    options = shared | (of_module if is_module else of_network)
    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    if not _is_module(network):
        return arch.recalibrate(as_network(network), reduction, **given)
    if reduction is None:
        raise NetworkError("reduction: a torch module keeps the squeeze-and-excitation that it has; name a ratio")
    from convwright.modules import foreign

    return foreign.recalibrate(network, reduction, **given)


def draw(network: NetworkLike) -> "Drawing":
    """Draw a network: its stages, and the inside of each kind of block.

    Args:
        network: Network, expression, file of a network (`network.json`), run directory or run.

    Returns:
        The drawing, which notebooks show. `str` of it is SVG, and `save` writes it to a file.

    Raises:
        NetworkError: The value is no network.

    Example:
        >>> str(cw.draw("resnet18")).startswith("<svg")
        True
    """
    return as_network(network).draw()


def _is_module(value: object) -> "TypeGuard[nn.Module]":
    """Return whether a value is a torch module, without importing torch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.nn.Module)
