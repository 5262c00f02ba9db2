"""A gate replaced by what it does on average: a factor for each channel, folded into the weights around it.

Factors are pushed through the layer graph. Backward from the gate, a convolution or normalisation can put its maps
out that much larger; forward, a convolution, linear layer or normalisation can read them that much larger. In
between, pools, ReLU (factors are not negative) and the like hand factors on; other activations do not. Where both
ways meet something that cannot take them, such as an identity shortcut, folding is not exact; then the branches of
the sum that can take the factors do (the last normalisation of the body), and the rest goes without.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch

from convwright.arch.layers import (
    Act,
    Add,
    Combinator,
    Concat,
    Conv,
    Dropout,
    Gate,
    GlobalPool,
    Identity,
    Layer,
    Linear,
    Norm,
    PadChannels,
    Pool,
    Scale,
    Seq,
)
from convwright.arch.network import Network
from convwright.errors import NetworkError
from convwright.explain.dense_connections import channels_after, children

Factors = torch.Tensor
"""One a channel."""


class Edit(NamedTuple):
    """A layer whose maps are multiplied: those that it puts out, or those that it reads."""

    path: str
    side: Literal["out", "in"]
    factors: Factors


@dataclass(frozen=True)
class Folding:
    """How a gate's factors go into the weights."""

    edits: tuple[Edit, ...]
    exact: bool
    """Does the network compute the same as with a gate that is these constants?"""


class _Item(NamedTuple):
    """A layer of a sequence, and how many maps it reads."""

    path: str
    layer: Layer
    channels: int


class _Frame(NamedTuple):
    """A sequence, the place in it of the gate or of the layer that holds it, and in which branch of that."""

    items: list[_Item]
    place: int
    branch: int = 0


class _Pushed(NamedTuple):
    """What was edited, and the factors that are still to be taken, if any."""

    edits: list[Edit]
    left: Factors | None


def fold(network: Network, gate: str, factors: Factors) -> Folding:
    """Find where the factors of a gate, given by its path, go. NetworkError if the network has no such gate."""
    frames = _locate(_program(network), gate)
    if not frames or not isinstance(frames[-1].items[frames[-1].place].layer, Gate):
        raise NetworkError(f"{network.name} has no gate at {gate}")
    inner = frames[-1]
    before = inner.items[: inner.place]
    for pushed in (_backward(before, factors), _forward(frames, factors)):
        if pushed is not None:
            return Folding(tuple(pushed), exact=True)
    return Folding(tuple(_backward(before, factors, lenient=True) or ()), exact=False)


def apply(edits: Sequence[Edit], network: torch.nn.Module) -> None:
    """Multiply the weights of a built network, in place."""
    for path, side, factors in edits:
        layer = network.get_submodule(path)
        state = {name: tensor.data for name, tensor in (*layer.named_parameters(), *layer.named_buffers())}
        factors = factors.to(state["weight"].device)
        if isinstance(layer, torch.nn.BatchNorm2d):
            _scale_norm(layer, state, side, factors)
        elif side == "out":
            state["weight"].copy_(state["weight"].double() * _shaped(factors, state["weight"], 0))
            if "bias" in state:
                state["bias"].copy_(state["bias"].double() * factors)
        else:
            _scale_input(layer, state["weight"], factors)


def _scale_norm(layer: torch.nn.BatchNorm2d, state: dict[str, torch.Tensor], side: str, factors: Factors) -> None:
    weight, bias = state["weight"].double(), state["bias"].double()
    state["weight"].copy_(weight * factors)
    if side == "out":
        state["bias"].copy_(bias * factors)
    else:  # the running mean stays that of the maps as they are now; what it takes away otherwise goes into the shift
        deviation = (state["running_var"].double() + layer.eps).sqrt()
        state["bias"].copy_(bias - weight * state["running_mean"].double() * (1 - factors) / deviation)


def _scale_input(layer: torch.nn.Module, weight: torch.Tensor, factors: Factors) -> None:
    groups = getattr(layer, "groups", 1)
    # filters x maps of their group x positions; the filters of a group read the group's own factors
    seen = weight.view(groups, len(weight) // groups, len(factors) // groups, -1)
    seen.copy_(seen.double() * factors.view(groups, 1, -1, 1))


def _shaped(factors: Factors, like: torch.Tensor, axis: int) -> Factors:
    return factors.view([-1 if index == axis else 1 for index in range(like.ndim)])


def _program(network: Network) -> list[_Item]:
    """The whole network as one sequence."""
    items: list[_Item] = []
    channels = network.channels
    for _, path, block in network.blocks():
        graph = block.layers(channels)
        items += _sequence(graph, path, channels)
        channels = channels_after(graph, channels)
    return items


def _sequence(layer: Layer, path: str, channels: int) -> list[_Item]:
    """A layer as a sequence: its parts, or itself alone."""
    if not isinstance(layer, Seq):
        return [_Item(path, layer, channels)]
    items = []
    for inner, part in children(layer, path):
        items.append(_Item(inner, part, channels))
        channels = channels_after(part, channels)
    return items


def _locate(items: list[_Item], gate: str) -> list[_Frame]:
    """The sequences that hold the gate, the outermost first; empty if none does."""
    for index, (path, layer, channels) in enumerate(items):
        if path == gate:
            return [_Frame(items, index)]
        if isinstance(layer, Combinator) and gate.startswith(f"{path}."):
            for branch, (inner, part) in enumerate(children(layer, path)):
                if gate == inner or gate.startswith(f"{inner}."):
                    return [_Frame(items, index, branch), *_locate(_sequence(part, inner, channels), gate)]
    return []


def _backward(items: Sequence[_Item], factors: Factors, *, lenient: bool = False) -> list[Edit] | None:
    """Have the layers before put their maps out so much larger; None if they cannot."""
    pushed = _produced(items, factors, lenient)
    return pushed.edits if pushed is not None and (pushed.left is None or lenient) else None


def _produced(items: Sequence[_Item], factors: Factors, lenient: bool) -> _Pushed | None:
    edits: list[Edit] = []
    left: Factors | None = factors
    for item in reversed(items):
        assert left is not None
        pushed = _produce(item, left, lenient)
        if pushed is None:
            return _Pushed(edits, left) if lenient else None
        edits += pushed.edits
        left = pushed.left
        if left is None:
            break
    return _Pushed(edits, left)


def _produce(item: _Item, factors: Factors, lenient: bool) -> _Pushed | None:
    path, layer, channels = item
    match layer:
        case Conv() | Norm():
            return _Pushed([Edit(path, "out", factors)], None)
        case Seq():
            return _produced(_sequence(layer, path, channels), factors, lenient)
        case PadChannels():
            return _Pushed([], factors[:channels])
        case Add():
            branches = [(inner, part, factors) for inner, part in children(layer, path)]
        case Concat():
            widths = [channels_after(part, channels) for part in layer.parts]
            split = torch.split(factors, widths)
            branches = [(inner, part, own) for (inner, part), own in zip(children(layer, path), split, strict=True)]
        case _:
            return _Pushed([], factors) if _hands_on(layer, factors) else None
    every = [_produced(_sequence(part, inner, channels), own, lenient) for inner, part, own in branches]
    done = [pushed for pushed in every if pushed is not None and pushed.left is None]
    if len(done) < len(every) and not lenient:
        return None
    return _Pushed([edit for pushed in done for edit in pushed.edits], None)


def _forward(frames: Sequence[_Frame], factors: Factors) -> list[Edit] | None:
    """Have the layers behind read so much larger maps; None if they cannot."""
    edits: list[Edit] = []
    for depth in range(len(frames) - 1, -1, -1):
        items, place, _ = frames[depth]
        pushed = _absorbed(items[place + 1 :], factors)
        if pushed is None:
            return None
        edits += pushed.edits
        if pushed.left is None:
            return edits
        if not depth:
            return None
        outer, place, branch = frames[depth - 1]
        _, joint, channels = outer[place]
        if not isinstance(joint, Concat):
            return None
        widths = [channels_after(part, channels) for part in joint.parts]
        factors = torch.cat([pushed.left if i == branch else torch.ones(n).double() for i, n in enumerate(widths)])
    return None


def _absorbed(items: Sequence[_Item], factors: Factors) -> _Pushed | None:
    edits: list[Edit] = []
    left: Factors | None = factors
    for item in items:
        assert left is not None
        pushed = _absorb(item, left)
        if pushed is None:
            return None
        edits += pushed.edits
        left = pushed.left
        if left is None:
            break
    return _Pushed(edits, left)


def _absorb(item: _Item, factors: Factors) -> _Pushed | None:
    path, layer, channels = item
    match layer:
        case Conv() | Linear() | Norm():
            return _Pushed([Edit(path, "in", factors)], None)
        case Seq():
            return _absorbed(_sequence(layer, path, channels), factors)
        case PadChannels():
            return _Pushed([], torch.cat([factors, torch.ones(layer.out - channels).double()]))
        case Gate():  # its squeeze reads the maps too, and hands none of the factors on
            inside = _absorbed([_Item(inner, part, channels) for inner, part in children(layer, path)], factors)
            return _Pushed(inside.edits, factors) if inside is not None and inside.left is None else None
        case Add() | Concat():
            return _absorb_branches(layer, path, channels, factors)
    return _Pushed([], factors) if _hands_on(layer, factors) else None


def _absorb_branches(layer: Add | Concat, path: str, channels: int, factors: Factors) -> _Pushed | None:
    every = [_absorbed(_sequence(part, inner, channels), factors) for inner, part in children(layer, path)]
    pushed = [each for each in every if each is not None]
    if len(pushed) < len(every):
        return None
    edits, lefts = [edit for each in pushed for edit in each.edits], [each.left for each in pushed]
    if all(left is None for left in lefts):
        return _Pushed(edits, None)
    if isinstance(layer, Add):
        return None
    widths = [channels_after(part, channels) for part in layer.parts]
    joined = [torch.ones(n).double() if left is None else left for n, left in zip(widths, lefts, strict=True)]
    return _Pushed(edits, torch.cat(joined))


def _hands_on(layer: Layer, factors: Factors) -> bool:
    """Does it give so much larger maps for so much larger maps?"""
    if isinstance(layer, Act):
        return layer.function == "relu" and bool((factors >= 0).all())
    if isinstance(layer, Pool):
        return layer.function == "avg" or bool((factors >= 0).all())
    return isinstance(layer, GlobalPool | Dropout | Scale | Identity)
