"""A gate replaced by its mean excitation: a factor for each channel, folded into the weights around the gate.

Factors are propagated through the layer graph. Backward from the gate, a convolution or normalisation can scale its
output; forward, a convolution, linear layer or normalisation can scale its input. Between them, pools, ReLU (factors
are not negative) and similar layers propagate factors; other activations do not. Where both directions reach a layer
that cannot take the factors, such as an identity shortcut, folding is not exact: the branches of the sum that can take
the factors do (the last normalisation of the body), and the other branches stay as they are.
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
"""One factor for each channel."""


class Edit(NamedTuple):
    """A layer whose output or input maps are multiplied by factors."""

    path: str
    side: Literal["out", "in"]
    factors: Factors


@dataclass(frozen=True)
class Folding:
    """The layers into whose weights the factors of a gate are folded."""

    edits: tuple[Edit, ...]
    exact: bool
    """Whether the network computes the same as with a gate that is these constants."""


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


class _Remaining(NamedTuple):
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
    for found in (_backward(before, factors), _forward(frames, factors)):
        if found is not None:
            return Folding(tuple(found), exact=True)
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
    """Return the sequences that contain the gate, the outermost first; an empty list if none does."""
    for index, (path, layer, channels) in enumerate(items):
        if path == gate:
            return [_Frame(items, index)]
        if isinstance(layer, Combinator) and gate.startswith(f"{path}."):
            for branch, (inner, part) in enumerate(children(layer, path)):
                if gate == inner or gate.startswith(f"{inner}."):
                    return [_Frame(items, index, branch), *_locate(_sequence(part, inner, channels), gate)]
    return []


def _backward(items: Sequence[_Item], factors: Factors, *, lenient: bool = False) -> list[Edit] | None:
    """Scale the output of the layers before; None if they cannot take the factors."""
    found = _produced(items, factors, lenient)
    return found.edits if found is not None and (found.left is None or lenient) else None


def _produced(items: Sequence[_Item], factors: Factors, lenient: bool) -> _Remaining | None:
    edits: list[Edit] = []
    left: Factors | None = factors
    for item in reversed(items):
        assert left is not None
        found = _produce(item, left, lenient)
        if found is None:
            return _Remaining(edits, left) if lenient else None
        edits += found.edits
        left = found.left
        if left is None:
            break
    return _Remaining(edits, left)


def _produce(item: _Item, factors: Factors, lenient: bool) -> _Remaining | None:
    path, layer, channels = item
    match layer:
        case Conv() | Norm():
            return _Remaining([Edit(path, "out", factors)], None)
        case Seq():
            return _produced(_sequence(layer, path, channels), factors, lenient)
        case PadChannels():
            return _Remaining([], factors[:channels])
        case Add():
            branches = [(inner, part, factors) for inner, part in children(layer, path)]
        case Concat():
            widths = [channels_after(part, channels) for part in layer.parts]
            split = torch.split(factors, widths)
            branches = [(inner, part, own) for (inner, part), own in zip(children(layer, path), split, strict=True)]
        case _:
            return _Remaining([], factors) if _propagates(layer, factors) else None
    every = [_produced(_sequence(part, inner, channels), own, lenient) for inner, part, own in branches]
    done = [found for found in every if found is not None and found.left is None]
    if len(done) < len(every) and not lenient:
        return None
    return _Remaining([edit for found in done for edit in found.edits], None)


def _forward(frames: Sequence[_Frame], factors: Factors) -> list[Edit] | None:
    """Scale the input of the layers behind; None if they cannot take the factors."""
    edits: list[Edit] = []
    for depth in range(len(frames) - 1, -1, -1):
        items, place, _ = frames[depth]
        found = _absorbed(items[place + 1 :], factors)
        if found is None:
            return None
        edits += found.edits
        if found.left is None:
            return edits
        if not depth:
            return None
        outer, place, branch = frames[depth - 1]
        _, combinator, channels = outer[place]
        if not isinstance(combinator, Concat):
            return None
        widths = [channels_after(part, channels) for part in combinator.parts]
        factors = torch.cat([found.left if i == branch else torch.ones(n).double() for i, n in enumerate(widths)])
    return None


def _absorbed(items: Sequence[_Item], factors: Factors) -> _Remaining | None:
    edits: list[Edit] = []
    left: Factors | None = factors
    for item in items:
        assert left is not None
        found = _absorb(item, left)
        if found is None:
            return None
        edits += found.edits
        left = found.left
        if left is None:
            break
    return _Remaining(edits, left)


def _absorb(item: _Item, factors: Factors) -> _Remaining | None:
    path, layer, channels = item
    match layer:
        case Conv() | Linear() | Norm():
            return _Remaining([Edit(path, "in", factors)], None)
        case Seq():
            return _absorbed(_sequence(layer, path, channels), factors)
        case PadChannels():
            return _Remaining([], torch.cat([factors, torch.ones(layer.out - channels).double()]))
        case Gate():  # its squeeze reads the maps too, and hands none of the factors on
            inside = _absorbed([_Item(inner, part, channels) for inner, part in children(layer, path)], factors)
            return _Remaining(inside.edits, factors) if inside is not None and inside.left is None else None
        case Add() | Concat():
            return _absorb_branches(layer, path, channels, factors)
    return _Remaining([], factors) if _propagates(layer, factors) else None


def _absorb_branches(layer: Add | Concat, path: str, channels: int, factors: Factors) -> _Remaining | None:
    every = [_absorbed(_sequence(part, inner, channels), factors) for inner, part in children(layer, path)]
    found = [each for each in every if each is not None]
    if len(found) < len(every):
        return None
    edits, lefts = [edit for each in found for edit in each.edits], [each.left for each in found]
    if all(left is None for left in lefts):
        return _Remaining(edits, None)
    if isinstance(layer, Add):
        return None
    widths = [channels_after(part, channels) for part in layer.parts]
    joined = [torch.ones(n).double() if left is None else left for n, left in zip(widths, lefts, strict=True)]
    return _Remaining(edits, torch.cat(joined))


def _propagates(layer: Layer, factors: Factors) -> bool:
    """Return whether a layer's output scales with its input."""
    if isinstance(layer, Act):
        return layer.function == "relu" and bool((factors >= 0).all())
    if isinstance(layer, Pool):
        return layer.function == "avg" or bool((factors >= 0).all())
    return isinstance(layer, GlobalPool | Dropout | Scale | Identity)
