"""Cost and squeeze-and-excitation of any torch module."""

import copy
import difflib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import atanh, log, prod
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from convwright.arch.blocks import SE
from convwright.arch.cost_table import FLOAT32
from convwright.arch.layers import Activation
from convwright.arch.resolution import Resolution, format_sides, sides
from convwright.display.result import Block, Heading, Paragraph, Result, Table
from convwright.errors import NetworkError
from convwright.modules.builder import module_of
from convwright.modules.foreign_places import places
from convwright.units import human, human_bytes, share

INVERSES: dict[str, Callable[[float], float]] = {
    "sigmoid": lambda start: log(start / (1 - start)),
    "hardsigmoid": lambda start: 6 * start - 3,
    "tanh": atanh,
    "relu": float,
    "relu6": float,
}
"""Inverse of each gate function: the input that gives a value between 0 and 1."""
MODULE_NOTE = (
    "MACs are multiply-adds of one image; the papers call them FLOPs. Activations are the output elements of "
    "convolutions and linear layers."
)


class ModuleLayerCost(NamedTuple):
    """The cost of a convolution or linear layer for one image."""

    path: str
    params: int
    macs: int
    output: tuple[int, ...]
    """Shape of the output, without the batch."""


class ModulePartCost(NamedTuple):
    """The cost of a direct child of a module for one image."""

    name: str
    kind: str
    """Name of its class."""
    params: int
    macs: int
    activations: int


@dataclass(frozen=True, repr=False)
class ModuleCost(Result):
    """What a module costs for one image; MACs, parameters and activations as `convwright.arch.Cost` counts them."""

    name: str
    resolution: Resolution
    params: int
    macs: int
    activations: int
    parts: tuple[ModulePartCost, ...]
    """The module's direct children."""
    layers: tuple[ModuleLayerCost, ...]
    """Each convolution and linear layer, in order of execution."""

    def __repr__(self) -> str:
        figures = f"{human(self.params)} parameters, {human(self.macs)} MACs"
        return f"<ModuleCost of {self.name} at {format_sides(self.resolution)}: {figures}>"

    def to_dict(self) -> dict[str, object]:
        """Return exact numbers, in total, by part and by layer."""
        return {
            "name": self.name,
            "resolution": self.resolution,
            "params": self.params,
            "macs": self.macs,
            "activations": self.activations,
            "weight_bytes": self.params * FLOAT32,
            "parts": [part._asdict() for part in self.parts],
            "layers": [layer._asdict() for layer in self.layers],
        }

    def blocks(self) -> Iterable[Block]:
        """Yield a table of the module's direct children and the totals."""
        rows = [
            (
                part.name,
                human(part.params),
                human(part.macs),
                share(part.macs, self.macs),
                human(part.activations),
                part.kind,
            )
            for part in self.parts
            if part.params or part.macs
        ]
        rows.append(("total", human(self.params), human(self.macs), "", human(self.activations), ""))
        yield Heading(f"{self.name} on {format_sides(self.resolution, '×')} pixels")
        yield Table(("part", "params", "MACs", "share", "activations", "class"), rows)
        yield Paragraph(f"Weights take {human_bytes(self.params * FLOAT32)} in float32. {MODULE_NOTE}")


def cost(module: nn.Module, resolution: Resolution = 224, *, channels: int = 3) -> ModuleCost:
    """Count what a module costs by running a copy without weights on one image.

    Multiply-adds are those of convolutions and linear layers, and of other matrix products that torch's counter
    supports.

    Args:
        module: A module from N x C x H x W to N x classes.
        resolution: Height and width of the image in pixels.
        channels: Channels of the image.

    Raises:
        NetworkError: The module cannot read such an image.
    """
    _check(module)
    copied = weightless(module).eval()
    layers: list[ModuleLayerCost] = []

    def note(name: str, layer: nn.Module, output: torch.Tensor) -> None:
        weight = layer.get_parameter("weight")
        macs = weight.numel() * output.numel() // output.shape[1 if output.ndim == 4 else -1]
        params = sum(part.numel() for part in layer.parameters(recurse=False))
        layers.append(ModuleLayerCost(name, params, macs, tuple(output.shape[1:])))

    handles = [
        part.register_forward_hook(lambda layer, _, output, name=name: note(name, layer, output))
        for name, part in copied.named_modules()
        if isinstance(part, nn.Conv2d | nn.Linear)
    ]
    counter = FlopCounterMode(display=False)
    try:
        _run(copied, resolution, channels, counter)
    finally:
        for handle in handles:
            handle.remove()
    return ModuleCost(
        type(module).__name__,
        resolution,
        sum(part.numel() for part in module.parameters()),
        counter.get_total_flops() // 2,
        sum(prod(layer.output) for layer in layers),
        tuple(_parts(module, counter, layers)),
        tuple(layers),
    )


def _parts(module: nn.Module, counter: FlopCounterMode, layers: Sequence[ModuleLayerCost]) -> Iterator[ModulePartCost]:
    """Yield the cost of each direct child; a weight that two children share counts in both."""
    counts = counter.get_flop_counts()
    for name, child in module.named_children():
        flops = sum(counts.get(f"{type(module).__name__}.{name}", {}).values())
        inside = [layer for layer in layers if layer.path == name or layer.path.startswith(f"{name}.")]
        params = sum(part.numel() for part in child.parameters())
        activations = sum(prod(layer.output) for layer in inside)
        yield ModulePartCost(name, type(child).__name__, params, flops // 2, activations)


def recalibrate(
    module: nn.Module,
    reduction: float = 16,
    where: str | Sequence[str] | None = None,
    *,
    least: int = 8,
    act: Activation = "relu",
    gate: Activation = "sigmoid",
    resolution: Resolution = 224,
    channels: int = 3,
    start: float = 0.99,
) -> nn.Module:
    """Return a copy of a module with squeeze-and-excitation in it; its weights are kept.

    Args:
        module: The module.
        reduction: Reduction ratio, as in `convwright.arch.SE`.
        where: Names of modules (as `named_modules` has them) whose output is gated. By default the last layer of each
            residual branch, each block that ends in a concatenation of its own branches (SENet, Figures 2 and 3), and
            the last layer of each dense layer (DenseNet).
        least: Smallest squeezed width.
        act: Activation function of the squeezed width.
        gate: Activation function of the gate.
        resolution: Height and width of an image that the module can read.
        channels: Channels of such an image.
        start: Initial value of every gate; near 1, so that the output changes little.

    Raises:
        NetworkError: No place for a gate is found, or a named module does not output maps.
    """
    _check(module)
    if not 0 < start < 1:
        raise NetworkError(f"a gate starts between 0 and 1, not at {start}")
    if gate not in INVERSES:
        raise NetworkError(f"a gate is one of {', '.join(INVERSES)}, not {gate!r}")
    se = SE(reduction, least=least, act=act, gate=gate)
    if where is None:
        widths = _widths(module, places(module), resolution, channels, skip=True)
        if not widths:
            raise NetworkError(
                f"none of {type(module).__name__}'s branches outputs maps (N x C x H x W) that could be gated"
            )
    else:
        widths = _widths(module, _named(module, where), resolution, channels)
    changed = copy.deepcopy(module)
    example = next(changed.parameters(), torch.empty(0))
    for name in sorted(widths, key=lambda name: -name.count(".")):  # parts before what holds them
        parent, _, last = name.rpartition(".")
        inner = changed.get_submodule(name)
        block = module_of(se.layers(widths[name], widths[name]), (widths[name], 1, 1))
        _open(block, INVERSES[gate](start))
        block.to(example.device, example.dtype)
        setattr(changed.get_submodule(parent), last, Recalibrated(inner, block.train(inner.training)))
    return changed


class Recalibrated(nn.Module):
    """A module whose output is gated; other attributes are those of the inner module."""

    def __init__(self, inner: nn.Module, se: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.se = se

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Return the output of the inner module, N x C x H x W, times a factor per channel."""
        recalibrated: torch.Tensor = self.se(self.inner(*inputs))
        return recalibrated

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("inner"), name)


def _check(module: object) -> None:
    """Raise NetworkError if a value is no module."""
    if not isinstance(module, nn.Module):
        raise NetworkError(f"{module!r:.60} is neither a network nor a torch module")


def _named(module: nn.Module, where: str | Sequence[str]) -> list[str]:
    """Return the given names without duplicates; NetworkError if the module has no part of a name."""
    names = list(dict.fromkeys([where] if isinstance(where, str) else where))
    if not names:
        raise NetworkError("name one module or more to gate")
    known = [name for name, _ in module.named_modules() if name]
    if missing := [name for name in names if name not in known]:
        near = difflib.get_close_matches(missing[0], known, n=3)
        hint = f"; the nearest are {', '.join(near)}" if near else ""
        raise NetworkError(f"the module has no part named {missing[0]!r}{hint}")
    return names


def _widths(
    module: nn.Module, names: list[str], resolution: Resolution, channels: int, *, skip: bool = False
) -> dict[str, int]:
    """Return the output channels of each of these modules; `skip` leaves out modules whose output are no maps."""
    copied = weightless(module).eval()
    widths: dict[str, int] = {}
    unfit: dict[str, str] = {}

    def note(name: str, output: object) -> None:
        # A square image has square maps; other shapes are channels last, or tokens in windows.
        if not isinstance(output, torch.Tensor) or output.ndim != 4 or output.shape[2] != output.shape[3]:
            unfit[name] = "does not output maps (N x C x H x W) that could be gated"
        elif widths.setdefault(name, output.shape[1]) != output.shape[1]:
            unfit[name] = "runs more than once, with different numbers of maps"

    for name in names:
        copied.get_submodule(name).register_forward_hook(lambda _, __, output, name=name: note(name, output))
    _run(copied, resolution, channels)
    unfit |= {name: "takes no part in the forward pass" for name in names if name not in widths | unfit}
    if unfit and not skip:
        raise NetworkError("{} {}".format(*next(iter(unfit.items()))))
    return {name: width for name, width in widths.items() if name not in unfit}


def weightless(module: nn.Module) -> nn.Module:
    """Return a copy on the meta device, without the values of the weights."""
    memo = {id(tensor): tensor.detach().to("meta") for tensor in module.buffers()}
    memo |= {
        id(weight): nn.Parameter(weight.detach().to("meta"), weight.requires_grad) for weight in module.parameters()
    }
    return copy.deepcopy(module, memo)


def _run(module: nn.Module, resolution: Resolution, channels: int, counter: FlopCounterMode | None = None) -> None:
    image = torch.zeros(1, channels, *sides(resolution), device="meta")
    try:
        with torch.no_grad():
            if counter is None:
                module(image)
            else:
                with counter:
                    module(image)
    except Exception as error:  # of any kind
        raise NetworkError(
            f"{type(module).__name__} cannot read an image of {channels} x {format_sides(resolution)}: "
            f"{str(error).splitlines()[0]:.120}"
        ) from None


def _open(gate: nn.Module, bias: float) -> None:
    """Set the last layer of a gate so that its initial output is `bias` for every input."""
    last = [part for part in gate.modules() if isinstance(part, nn.Conv2d)][-1]
    nn.init.zeros_(last.weight)
    if last.bias is not None:
        nn.init.constant_(last.bias, bias)
