"""Weights of a network for one that was made from it by `stages` or `scale`: every block that is the same in both."""

from collections import defaultdict

from convwright.arch import Network, at
from convwright.errors import NetworkError, UsageError
from convwright.modules import build
from convwright.weights.foreign import COUNTER, classifier_of, first_convolution_of, match_weights
from convwright.weights.reading import Tensors
from convwright.zoo.reading import read_network

WEIGHT_PRESERVING_OPERATORS = frozenset({"stages", "scale"})
"""Operators that leave the shapes of some blocks unchanged, so that weights can be loaded into these blocks."""


def unchanged(network: Network) -> Network:
    """Return the network of the zoo that a network was made from by `stages` or `scale`; else the network itself."""
    name, *operations = network.name.split("|")
    if not any(operation.partition(":")[0].strip() in WEIGHT_PRESERVING_OPERATORS for operation in operations):
        return network
    others = [each for each in operations if each.partition(":")[0].strip() not in WEIGHT_PRESERVING_OPERATORS]
    try:
        return read_network("|".join([name, *others]))
    except NetworkError:
        return network


def transfer_matching_blocks(network: Network, tensors: Tensors, source: str) -> Tensors:
    """Return a checkpoint's tensors under the names of a network, or of those of its blocks that the checkpoint has.

    Weights of the unchanged network fit one that was truncated or scaled where a block in the same place of its stage
    has the same shapes: after `scale:d` that of the first blocks of each stage.

    Args:
        network: The network.
        tensors: A checkpoint's tensors by name.
        source: Name of the checkpoint in error messages.

    Raises:
        UsageError: The checkpoint is not one of the network nor of the unchanged network, or no block fits.
    """
    base = unchanged(network)
    try:
        return match_weights(at(network, channels=3), tensors, source)
    except UsageError:
        if base is network:
            raise
    matched = match_weights(at(base, channels=3), tensors, source)
    found = _in_the_same_place(base, at(network, channels=3), matched)
    if f"{first_convolution_of(build(network, device='meta'))}.weight" not in found:
        raise UsageError(f"{source}: its blocks have other shapes than those of {network.name}; only depth can differ")
    return found


def has_some(network: Network, tensors: Tensors) -> bool:
    """Return whether the names of all tensors are names of a network's, as in `transfer_matching_blocks`'s result."""
    return tensors.keys() <= build(network, device="meta").state_dict().keys()


def _in_the_same_place(base: Network, network: Network, tensors: Tensors) -> Tensors:
    """Return the tensors of all blocks that are in the same place of both networks and have the same shapes.

    A block counts as a whole: normalisation of other maps than before has no use for its statistics. The classifier may
    be for other classes.
    """
    theirs = _paths(base)
    places = {_place(name, _block(name, theirs), theirs): name for name in tensors}
    module, ours = build(network, device="meta"), _paths(network)
    classifier = classifier_of(module)
    blocks: dict[str, dict[str, str]] = defaultdict(dict)
    lacking: set[str] = set()
    for name, own in module.state_dict().items():
        block = _block(name, ours)
        source = places.get(_place(name, block, ours))
        if source is not None and (tensors[source].shape == own.shape or name.startswith(f"{classifier}.")):
            blocks[block][name] = source
        elif not name.endswith(COUNTER):
            lacking.add(block)
    chosen = [names for block, names in blocks.items() if block not in lacking]
    return {name: tensors[source] for names in chosen for name, source in names.items()}


def _paths(network: Network) -> dict[str, str]:
    """Return the place of each block by its path: the only block of a stage is called as the first of several."""
    alone = {stage.name: f"{stage.name}.block1" for stage in network.stages if stage.repeats == 1}
    return {path: alone.get(path, path) for _, path, _ in network.blocks()}


def _block(name: str, paths: dict[str, str]) -> str:
    """Return the path of the block that a tensor belongs to."""
    parts = name.split(".")
    return next(path for path in (".".join(parts[:2]), parts[0]) if path in paths)


def _place(name: str, block: str, paths: dict[str, str]) -> str:
    """Return the name of a tensor with its block's place instead of its path."""
    return paths[block] + name.removeprefix(block)
