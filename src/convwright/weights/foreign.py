"""Match another library's checkpoint with one of our networks by names and shapes alone.

The order of execution of our layers is known. `convwright.weights.naming` orders the layers of a checkpoint by their
names, never by the order of the file's keys. Each network layer is matched with the first unmatched checkpoint layer
of the same kind and shape. The matching is refused where the names do not give the order of two layers of one kind and
shape, where they contradict the order that the matching implies, and where blocks of ours with equal layers match
layers of different names. `tests/peers/test_matching.py` compares the pairs with those that result from running both
networks, layer by layer.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import pairwise

import torch
from torch import nn

from convwright.arch import Network, at
from convwright.arch.resolution import sides
from convwright.errors import UsageError
from convwright.finite import check_finite_weights
from convwright.modules import build
from convwright.printable import printable
from convwright.weights import naming
from convwright.weights.module_transfer import executed
from convwright.weights.reading import Tensors
from convwright.weights.store import differences

Shape = tuple[int, ...]
Kind = tuple[str, Shape]
Pairs = dict[str, str]
"""Names of our layers, in order of execution, and the names of the checkpoint's layers paired with them."""
AUXILIARY = re.compile(r"aux", re.IGNORECASE)
"""Auxiliary classifiers (GoogLeNet, Inception-v3), which only training uses."""
COUNTER = "num_batches_tracked"
MOST_NAMED = 3
"""New layers that a message names."""
PARTS = frozenset(("weight", "bias", "running_mean", "running_var", COUNTER))
"""Tensors of which a layer of our networks consists."""
_STRIDE_IN_3X3 = re.compile(r"seresnet(50|101|152)")


def match_weights(network: Network, tensors: Tensors, source: str) -> Tensors:
    """Return a checkpoint's tensors under the names of our network.

    The order of the tensors does not matter.

    Args:
        network: The network whose names the tensors get; a file with our names keeps its input channels.
        tensors: A checkpoint's tensors by name; the number of classes is its own.
        source: Name of the checkpoint in error messages.

    Raises:
        UsageError: Tensors are missing, left over or of other shapes, or their names do not say, or contradict,
            which layers they belong to.
    """
    names = _names(build(network, device="meta"))
    given = _without_wrappers(tensors, names)
    if names <= given.keys():
        return _own(network, given, source)
    try:
        wanted = build(at(network, classes=class_count(given, network) or network.classes), device="meta")
        _check_parts(network, given)
        matched = _tensor_pairs(_paired(network, wanted, given), wanted, given)
    except LayerMatchError as misfit:
        raise UsageError(f"{source}: the weights do not fit {network.name}: {printable(misfit)}") from None
    shapes = {name: tensor.shape for name, tensor in wanted.state_dict().items()}
    return {ours: given[theirs].reshape(shapes[ours]) for ours, theirs in matched}


class LayerMatchError(UsageError):
    """The layers of a checkpoint are not those of a network."""


def class_count(tensors: Tensors, network: Network) -> int | None:
    """Return the number of classes of a checkpoint; None if it has no classifier that fits the network.

    Args:
        tensors: The checkpoint's tensors by name. Its classifier is the only layer with the inputs of the network's
            classifier that no other layer of the network matches.
        network: The network.
    """
    module = build(network, device="meta")
    classifier = classifier_of(module)
    tensors = _without_wrappers(tensors, _names(module))
    if _names(module) <= tensors.keys():
        weight = tensors[f"{classifier}.weight"]
        return weight.shape[0] if weight.ndim == 2 else None
    own = _kinds(module.state_dict())
    name, (_, *inputs) = own.pop(classifier)
    fitting = Counter(kind for kind in _kinds(tensors).values() if kind[0] == name and [*kind[1][1:]] == inputs)
    left = list((fitting - Counter(own.values())).elements())
    return left[0][1][0] if len(left) == 1 else None


def has_own_names(tensors: Tensors, network: Network) -> bool:
    """Return whether a checkpoint's tensors have the names of our network."""
    names = _names(build(network, device="meta"))
    return names <= _without_wrappers(tensors, names).keys()


def _check_parts(network: Network, given: Tensors) -> None:
    """Raise LayerMatchError for tensors that none of our layers has, and for names of another architecture."""
    for name, tensor in given.items():
        layer, _, part = name.rpartition(".")
        if part not in PARTS:
            raise LayerMatchError(
                f"{name or 'a tensor without a name'} is no weight, bias or statistic of a layer; merge masks, "
                "adapters and parametrisations into the weights before they are saved"
            )
        if not layer:
            raise LayerMatchError(f"its {part} belongs to no layer: a name is LAYER.{part}")
        if part != COUNTER and not tensor.is_floating_point():
            raise LayerMatchError(
                f"{name} holds whole numbers ({str(tensor.dtype).removeprefix('torch.')}), as quantized weights do; "
                "convert it to floating point"
            )
    base = network.name.partition("|")[0]
    if {"layer0.conv1.weight", "last_linear.weight"} <= given.keys() and (found := _STRIDE_IN_3X3.fullmatch(base)):
        raise LayerMatchError(
            "its names are those of the SENet authors' networks, in which the first convolution of a block has the "
            f"stride; the network is {found[0]}_v1"
        )


def _names(module: nn.Module) -> set[str]:
    return {name for name in module.state_dict() if not name.endswith(COUNTER)}


def _without_wrappers(tensors: Tensors, names: set[str]) -> Tensors:
    """Leave out auxiliary classifiers, and a common prefix of our own names."""
    given = {name: tensor for name, tensor in tensors.items() if not AUXILIARY.match(name)}
    without = naming.without_common_start(given)
    if names == {name for name in without.values() if not name.endswith(COUNTER)}:
        return {without[name]: tensor for name, tensor in given.items()}
    return given


def _paired(network: Network, wanted: nn.Module, given: Tensors) -> Pairs:
    """Pair our layers with a checkpoint's; LayerMatchError where shapes or names do not allow it."""
    kinds = _kinds(given)
    paths = naming.paths(kinds, network.name.partition("|")[0])
    free: dict[Kind, list[str]] = defaultdict(list)
    for name in paths:
        free[kinds[name]].append(name)
    rows = [names[:] for names in free.values()]
    example = torch.zeros(1, network.channels, *sides(network.resolution), device="meta")
    own, pairs, lacking = _kinds(wanted.state_dict()), {}, []
    for name, _ in executed(wanted, example):
        if free[own[name]]:
            pairs[name] = free[own[name]].pop(0)
        else:
            lacking.append((name, own[name]))
    if problem := _differences(lacking, free) or _unordered(rows, paths) or _contradiction(pairs, paths):
        raise LayerMatchError(problem)
    return pairs


def _unordered(rows: Iterable[list[str]], paths: dict[str, naming.Path]) -> str:
    """Name two layers of one kind and shape whose names do not give their order, if there are any."""
    for names in rows:
        for first, second in pairwise(names):
            if not naming.in_order(paths[first], paths[second]):
                return (
                    f"its {first} and {second} have the same shape, and their names do not say which runs first; "
                    "name the layers as torchvision, timm or convwright does"
                )
    return ""


def _contradiction(pairs: Pairs, paths: dict[str, naming.Path]) -> str:
    """Name two layers whose names contradict a pairing, if there are any."""
    ours, theirs = list(pairs), list(pairs.values())
    places = {name: place for place, name in enumerate(theirs)}
    if found := naming.contradiction([(path, places[name]) for name, path in paths.items()]):
        later, earlier = found
        return (
            f"the names of its layers {theirs[later]} and {theirs[earlier]} say that the former runs first, but their "
            f"shapes match the network's {ours[later]} and {ours[earlier]}, of which the latter runs first; name the "
            "layers as torchvision or timm does"
        )
    return _unlike_roles(pairs)


_BLOCK = re.compile(r"[^.]+?(?:\.block\d+)?(?=\.)")
_WRAPPERS = re.compile(r"\b(?:add|body)\.")


def _unlike_roles(pairs: Pairs) -> str:
    """Name a layer that is called otherwise in its block than its counterpart in another block with alike layers.

    Blocks that share what their layers' names begin with (`features.0`, `features.1`) are left out.
    """
    blocks: dict[str, dict[str, str]] = defaultdict(dict)
    for ours, theirs in pairs.items():
        found = _BLOCK.match(ours)
        if found and ".shortcut" not in ours:
            blocks[found[0]][_WRAPPERS.sub("", ours[found.end() + 1 :])] = theirs
    starts = {block: _common_start(list(roles.values())) for block, roles in blocks.items()}
    shared = Counter(starts.values())
    first: dict[tuple[str, ...], dict[str, str]] = {}
    for block, roles in blocks.items():
        start = starts[block] if shared[starts[block]] == 1 else ""
        if not start:
            continue
        called = {role: theirs.removeprefix(start) for role, theirs in roles.items()}
        expected = first.setdefault(tuple(roles), called)
        for role, name in called.items():
            if name != expected[role]:
                return f"its {roles[role]} matches a position at which other blocks have a layer named {expected[role]}"
    return ""


def _common_start(names: list[str]) -> str:
    """Return what all names begin with, up to a separator."""
    same = naming.common_length(names)
    return names[0][: max(names[0].rfind(".", 0, same), names[0].rfind("_", 0, same)) + 1]


def _tensor_pairs(pairs: Pairs, wanted: nn.Module, given: Tensors) -> list[tuple[str, str]]:
    """Return the tensors of paired layers, ours and theirs; LayerMatchError where the checkpoint lacks one."""
    parts = ("weight", "bias", "running_mean", "running_var")
    names = wanted.state_dict().keys()
    matched = [
        (f"{ours}.{part}", f"{theirs}.{part}")
        for ours, theirs in pairs.items()
        for part in parts
        if f"{ours}.{part}" in names
    ]
    if absent := [theirs for _, theirs in matched if theirs not in given]:
        more = f" (and {len(absent) - 3} more)" if len(absent) > 3 else ""
        raise LayerMatchError(f"{', '.join(absent[:3])} {'is' if len(absent) == 1 else 'are'} missing{more}")
    shapes = {name: tensor.shape for name, tensor in wanted.state_dict().items()}
    for ours, theirs in matched:
        if _without_ones(given[theirs].shape) != _without_ones(shapes[ours]):
            raise LayerMatchError(f"its {theirs} is {tuple(given[theirs].shape)}, not {tuple(shapes[ours])}")
    if extra := (given.keys() & {f"{layer}.{part}" for layer in pairs.values() for part in parts}) - {
        theirs for _, theirs in matched
    }:
        raise LayerMatchError(f"its {min(extra)} is not part of the network")
    return matched


def _without_ones(shape: Iterable[int]) -> Shape:
    """Return a shape without the sizes of 1 at its end: a linear layer equals a 1x1 convolution."""
    sizes = list(shape)
    while sizes and sizes[-1] == 1:
        sizes.pop()
    return tuple(sizes)


def load_matched(tensors: Tensors, module: nn.Module) -> list[str]:
    """Load tensors that `match_weights` returned into a module of the same network.

    Args:
        tensors: Tensors under our names.
        module: The module. A classifier for other classes keeps its initial weights. A first convolution with one
            input channel gets the sum of the filters over their channels, whose output for a grey image is the same.

    Returns:
        A message for each tensor that was changed or left out.

    Raises:
        UsageError: The tensors do not fit the module.
    """
    own = module.state_dict()
    messages, loaded = [], dict(tensors)
    first, classifier = f"{first_convolution_of(module)}.weight", classifier_of(module)
    if new := _without_weights(own, loaded, classifier):
        more = f" and {len(new) - MOST_NAMED} more" if len(new) > MOST_NAMED else ""
        messages.append(f"new layers, which start from random weights: {', '.join(new[:MOST_NAMED])}{more}")
    if loaded[first].shape != own[first].shape and own[first].shape[1] == 1:
        messages.append(f"the first convolution's filters are summed over their {loaded[first].shape[1]} channels")
        filters = loaded[first]  # of few bits a sum over channels may overflow
        loaded[first] = (filters if filters.dtype == torch.float64 else filters.float()).sum(1, keepdim=True)
        check_finite_weights({first: loaded[first]}, "the sum over input channels")
    if (
        f"{classifier}.weight" not in loaded
        or loaded[f"{classifier}.weight"].shape != own[f"{classifier}.weight"].shape
    ):
        messages.append(f"the classifier is new, for {own[f'{classifier}.weight'].shape[0]} classes")
        loaded = {name: tensor for name, tensor in loaded.items() if name.rpartition(".")[0] != classifier}
    initial = {name: tensor for name, tensor in own.items() if name not in loaded}
    if problems := differences(own, loaded | initial):
        raise UsageError(f"the weights do not fit the network: {'; '.join(problems[:3])}")
    module.load_state_dict(loaded | initial)
    return messages


def _without_weights(own: Tensors, loaded: Tensors, classifier: str) -> list[str]:
    """Return the names of the layers, but the classifier, whose weights are not loaded."""
    names = [name for name in own if name not in loaded and not name.endswith(COUNTER)]
    return [layer for layer in dict.fromkeys(name.rpartition(".")[0] for name in names) if layer != classifier]


def classifier_of(module: nn.Module) -> str:
    """Return the name of a module's last linear layer."""
    names: list[str] = [name for name, part in module.named_modules() if isinstance(part, nn.Linear)]
    return names[-1]


def first_convolution_of(module: nn.Module) -> str:
    """Return the name of a module's first convolution, which reads the image."""
    name: str = next(name for name, part in module.named_modules() if isinstance(part, nn.Conv2d))
    return name


def _own(network: Network, tensors: Tensors, source: str) -> Tensors:
    """Return tensors that have our names already; UsageError where their shapes differ from the network's."""
    first = tensors[f"{first_convolution_of(build(network, device='meta'))}.weight"]
    channels = first.shape[1] if first.ndim == 4 else network.channels
    classes = class_count(tensors, network) or network.classes
    wanted = build(at(network, classes=classes, channels=channels), device="meta").state_dict()
    counted = {name: tensor for name, tensor in wanted.items() if name in tensors or not name.endswith(COUNTER)}
    if problems := differences(counted, tensors):
        raise UsageError(f"{source}: the weights do not fit {network.name}: {'; '.join(problems[:3])}")
    return {name: tensors[name] for name in counted}  # in our order


def _kinds(tensors: Tensors) -> dict[str, Kind]:
    """Return the kind and shape of each layer of a checkpoint or of a network, by name."""
    shapes: dict[str, dict[str, Shape]] = defaultdict(dict)
    for name, tensor in tensors.items():
        layer, _, part = name.rpartition(".")
        shapes[layer][part] = tuple(tensor.shape)
    return {name: _kind(parts) for name, parts in shapes.items()}


def _kind(shapes: dict[str, Shape]) -> Kind:
    """Return the kind and shape that two matching layers share. A linear layer equals a 1x1 convolution."""
    weight = shapes.get("weight", ())
    if "running_mean" in shapes:
        return ("normalisation", shapes["running_mean"])
    return ("with a bias" if "bias" in shapes else "without bias", weight + (1,) * (4 - len(weight)))


def _differences(lacking: list[tuple[str, Kind]], free: dict[Kind, list[str]]) -> str:
    """Describe the first layers without counterpart, of the network and of the checkpoint."""
    left = [(name, kind) for kind, names in free.items() for name in names]
    messages = [f"{name}, {_description(kind)}, is not in it" for name, kind in lacking[:2]]
    messages += [f"its {name}, {_description(kind)}, is not part of the network" for name, kind in left[:2]]
    more = len(lacking) + len(left) - len(messages)
    return "; ".join(messages) + (f" (and {more} more)" if messages and more > 0 else "")


def _description(kind: Kind) -> str:
    name, shape = kind
    numbers = " x ".join(map(str, shape))
    return f"a {name} of {numbers} maps" if name == "normalisation" else f"{numbers} {name}"
