"""Fit another library's checkpoint to a network of ours, from names and shapes alone.

A checkpoint lists layers; ours are known in order of execution. Each of ours takes the first layer of the same
kind and shape that is left. torch's own files list layers in the order of their definition, which for all of
torchvision's and timm's networks that have a counterpart here leads to the right pairs; safetensors files come
sorted by name, and `_rank` puts them back (`tests/peers/test_adopt.py` holds both, layer by layer).
"""

import re
from collections import defaultdict

import torch
from torch import nn

from convwright.arch import Network, at
from convwright.errors import ConvwrightError
from convwright.modules import build
from convwright.weights.carry import executed
from convwright.weights.reading import Tensors
from convwright.weights.store import differences

Shape = tuple[int, ...]
Kind = tuple[str, Shape]
AUXILIARY = re.compile(r"aux", re.IGNORECASE)
"""Classifiers half-way up (GoogLeNet, Inception-v3), which only training uses."""
COUNTER = "num_batches_tracked"

# Where names do not say in which order layers run: what to read in their place.
_RESPELT = {
    "inception_v3": ((r"branch5x5", "branch2"),),
    **{f"preact_resnet{depth}": ((r"^norm\b", "top.norm"),) for depth in (50, 101, 152)},
    "densenet264d": ((r"^features\.(conv|norm)[012]\b", r"features.\g<1>0"),),
    "inception_resnet_v2": (
        (r"^repeat\.", "r5."),
        (r"^repeat_1\.", "r6."),
        (r"^repeat_2\.", "r7."),
    ),
}


def adopt(network: Network, tensors: Tensors, source: str) -> Tensors:
    """Return a checkpoint's tensors under our names, as the network has them with its channels and classes.

    Classes and input channels are the checkpoint's own. Raises ConvwrightError that names the tensors that
    differ, and how; `source` is what the checkpoint is called in it.
    """
    given = {name: tensor for name, tensor in tensors.items() if not AUXILIARY.match(name)}
    layers = _layers(given, network.name.partition("|")[0])
    wanted = build(at(network, classes=_classes(given, network)), device="meta")
    names = {name for name in wanted.state_dict() if not name.endswith(COUNTER)}
    if names <= given.keys():  # ours
        return _own(network, given, source)
    example = torch.zeros(1, network.channels, network.resolution, network.resolution, device="meta")
    free: dict[Kind, list[str]] = defaultdict(list)
    for name, kind in layers.items():
        free[kind].append(name)
    pairs, lacking = [], []
    for name, layer in executed(wanted, example):
        kind = _kind({part: tuple(tensor.shape) for part, tensor in layer.state_dict().items()})
        if free[kind]:
            pairs.append((name, free[kind].pop(0)))
        else:
            lacking.append((name, kind))
    if told := _differences(lacking, free):
        raise ConvwrightError(f"{source}: the weights do not fit {network.name}: {told}")
    shapes = {name: tensor.shape for name, tensor in wanted.state_dict().items()}
    wholes = [
        (f"{ours}.{part}", f"{theirs}.{part}")
        for ours, theirs in pairs
        for part in ("weight", "bias", "running_mean", "running_var")
        if f"{ours}.{part}" in shapes
    ]
    if absent := [theirs for _, theirs in wholes if theirs not in given]:
        told = f"{', '.join(absent[:3])} {'is' if len(absent) == 1 else 'are'} missing"
        more = f" (and {len(absent) - 3} more)" if len(absent) > 3 else ""
        raise ConvwrightError(f"{source}: the weights do not fit {network.name}: {told}{more}")
    return {ours: given[theirs].reshape(shapes[ours]) for ours, theirs in wholes}


def transfer(tensors: Tensors, module: nn.Module) -> list[str]:
    """Load `adopt`'s tensors into a module of the same network; return what was changed or left out, in words.

    A classifier for other classes keeps its fresh weights. A first convolution that reads one channel gets the
    sum over the channels of the filters, which on a grey image is what the three would make of it.
    """
    own = module.state_dict()
    told, taken = [], dict(tensors)
    first = next(name for name, tensor in own.items() if tensor.ndim == 4)
    if taken[first].shape != own[first].shape and own[first].shape[1] == 1:
        told.append(f"the first convolution's filters are summed over their {taken[first].shape[1]} channels")
        taken[first] = taken[first].sum(1, keepdim=True)
    classifier = classifier_of(module)
    if taken[f"{classifier}.weight"].shape != own[f"{classifier}.weight"].shape:
        told.append(f"the classifier is new, for {own[f'{classifier}.weight'].shape[0]} classes")
        taken = {name: tensor for name, tensor in taken.items() if name.rpartition(".")[0] != classifier}
    fresh = {name: tensor for name, tensor in own.items() if name not in taken}
    if problems := differences(own, taken | fresh):
        raise ConvwrightError(f"the weights do not fit the network: {'; '.join(problems[:3])}")
    module.load_state_dict(taken | fresh)
    return told


def classifier_of(module: nn.Module) -> str:
    """Return the name of a module's last linear layer."""
    return [name for name, part in module.named_modules() if isinstance(part, nn.Linear)][-1]


def _own(network: Network, tensors: Tensors, source: str) -> Tensors:
    """Return tensors that have our names already, where their shapes are the network's."""
    names = build(network, device="meta").state_dict()
    first = tensors[next(name for name, tensor in names.items() if tensor.ndim == 4)]
    channels = first.shape[1] if first.ndim == 4 else network.channels
    wanted = build(at(network, classes=_classes(tensors, network), channels=channels), device="meta").state_dict()
    tensors = {name: tensors[name] for name in wanted if name in tensors} | tensors  # in order of execution
    if problems := differences(wanted, tensors):
        raise ConvwrightError(f"{source}: the weights do not fit {network.name}: {'; '.join(problems[:3])}")
    return tensors


def _layers(tensors: Tensors, network: str) -> dict[str, Kind]:
    """Return the layers of a checkpoint, in the order in which they run as far as it can be told."""
    shapes: dict[str, dict[str, Shape]] = defaultdict(dict)
    for name, tensor in tensors.items():
        layer, _, part = name.rpartition(".")
        shapes[layer][part] = tuple(tensor.shape)
    names = list(shapes)
    if list(tensors) == sorted(tensors):  # as safetensors has them, whatever the order was before
        names.sort(key=lambda name: _rank(name, network))
    names = _shortcuts_last(names)
    return {name: _kind(shapes[name]) for name in names}


def _shortcuts_last(names: list[str]) -> list[str]:
    """Put each shortcut's layers after those of its block's body, as our networks run them."""
    places = dict(zip(names, range(len(names)), strict=True))
    for name in names:
        block, is_shortcut, _ = name.partition(".downsample.")
        if is_shortcut:
            places[name] = max(place for other, place in places.items() if other.startswith(f"{block}."))
    return sorted(names, key=lambda name: (places[name], ".downsample." in name))


def _rank(name: str, network: str) -> list[tuple[float, list[str | int]]]:
    """Order names by the first number of each component, then by its text: denseblock1, transition1, norm5, fc."""
    for pattern, written in _RESPELT.get(network, ()):
        name = re.sub(pattern, written, name)
    ranks = []
    for component in name.split("."):
        pieces = [int(piece) if piece.isdigit() else piece for piece in re.split(r"(\d+)", component)]
        ranks.append((next((piece for piece in pieces if isinstance(piece, int)), float("inf")), pieces))
    return ranks


def _kind(shapes: dict[str, Shape]) -> Kind:
    """What two layers must share. A linear layer equals a 1x1 convolution."""
    weight = shapes.get("weight", ())
    if "running_mean" in shapes:
        return ("normalisation", shapes["running_mean"])
    return ("with a bias" if "bias" in shapes else "without bias", weight + (1,) * (4 - len(weight)))


def _classes(tensors: Tensors, network: Network) -> int:
    """How many classes a checkpoint tells apart: what its last linear layer puts out."""
    outs = [tensor.shape[0] for tensor in tensors.values() if tensor.ndim == 2]
    return outs[-1] if outs else network.classes


def _differences(lacking: list[tuple[str, Kind]], free: dict[Kind, list[str]]) -> str:
    """Tell the first layers that have no counterpart, ours and theirs."""
    left = [(name, kind) for kind, names in free.items() for name in names]
    told = [f"{name}, {_told(kind)}, is not in it" for name, kind in lacking[:2]]
    told += [f"its {name}, {_told(kind)}, has no place" for name, kind in left[:2]]
    more = len(lacking) + len(left) - len(told)
    return "; ".join(told) + (f" (and {more} more)" if told and more > 0 else "")


def _told(kind: Kind) -> str:
    name, shape = kind
    numbers = " x ".join(map(str, shape))
    return f"a {name} of {numbers} maps" if name == "normalisation" else f"{numbers} {name}"
