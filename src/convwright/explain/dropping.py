"""Squeeze-and-excitation taken out of a trained network step by step, and what each step costs and saves.

A block that loses it keeps its mean excitation, folded into the weights around it (`drop_folding`).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch

from convwright.arch import recalibrate
from convwright.arch.cost import cost
from convwright.arch.layers import Combinator, Gate, Layer
from convwright.arch.network import Network
from convwright.errors import NetworkError, UsageError
from convwright.explain.dense_connections import channels_after, children
from convwright.explain.excitation import Excitations
from convwright.explain.gate_folding import apply, fold
from convwright.explain.variants import Accuracy, Change
from convwright.modules import ConvNet, build

By = Literal["stages", "blocks"]


class Gated(NamedTuple):
    """A block with squeeze-and-excitation: its stage, its path, and the path of its gate."""

    stage: str
    block: str
    gate: str


@dataclass(frozen=True)
class DropStep:
    """A network without squeeze-and-excitation in some of its blocks."""

    step: int
    """0: the network as it was."""
    without: str
    """What this step took it out of: a stage, or a block."""
    blocks: tuple[str, ...]
    """All blocks that have lost it by now, by their paths in the network as it was."""
    inexact: tuple[str, ...]
    """Of these, the ones whose mean could not be folded exactly: body scaled, identity shortcut not."""
    network: Network
    module: ConvNet
    params: int
    macs: int
    over_none: float
    """Parameters more than the same network without any squeeze-and-excitation, as a share of the latter."""
    accuracy: float
    interval: tuple[float, float]
    change: Change | None
    """Of accuracy against step 0; None for step 0 itself."""


def gated_blocks(network: Network) -> tuple[Gated, ...]:
    """Return every block with squeeze-and-excitation, in order. NetworkError if there is none that can lose it."""
    found, channels = [], network.channels
    for stage, path, block in network.blocks():
        graph = block.layers(channels)
        channels = channels_after(graph, channels)
        if block.gateable and getattr(block, "se", None) is not None:
            found += [Gated(stage, path, gate) for gate in _gates(graph, path)]
    if not found:
        raise NetworkError(f"{network.name} has no squeeze-and-excitation to take out")
    return tuple(found)


def drop_order(network: Network, by: By, found: Excitations | None = None) -> list[tuple[str, list[Gated]]]:
    """Return what loses squeeze-and-excitation at each step, and what to call it.

    stages: the last stage first. blocks: the one whose excitations vary least over the images of `found` first, since
    what hardly varies is close to the constant that takes its place.
    """
    every = gated_blocks(network)
    if by == "stages":
        names = list(dict.fromkeys(each.stage for each in every))
        return [(name, [each for each in every if each.stage == name]) for name in reversed(names)]
    if by != "blocks":
        raise UsageError(f"squeeze-and-excitation is dropped by stages or by blocks, not by {by!r}")
    if found is None:
        raise UsageError("by blocks, the excitations must be measured first")
    variation = {block.name: block.variation for block in found.blocks}
    ranked = sorted(every, key=lambda each: variation[each.gate])
    return [(each.block, [each]) for each in ranked]


def count_steps(network: Network, by: By) -> int:
    """Return how many steps `drop` takes beyond step 0. NetworkError if there is nothing to drop."""
    every = gated_blocks(network)
    return len(every) if by == "blocks" else len({each.stage for each in every})


def drop_steps(
    network: Network, module: ConvNet, found: Excitations, measure: Callable[[torch.nn.Module], Accuracy], by: By
) -> Iterator[DropStep]:
    """Take squeeze-and-excitation out step by step, and measure; step 0 is the network as it is.

    found: excitations of this network, whose means are folded into the weights. The networks are made anew; `module`
    stays as it is.
    """
    bare = cost(recalibrate(network, None)).params
    means = {block.name: block.overall for block in found.blocks}
    gone: list[Gated] = []
    first: Accuracy | None = None
    for step, (label, some) in enumerate([("-", []), *drop_order(network, by, found)]):
        gone += some
        changed = without(network, gone, by)
        variant, inexact = (module, ()) if not gone else transferred(network, module, changed, gone, means)
        counted, measured = cost(changed), measure(variant)
        change = None if first is None else measured.change_from(first)
        first = first or measured
        yield DropStep(
            step,
            label,
            tuple(each.block for each in gone),
            inexact,
            changed,
            variant,
            counted.params,
            counted.macs,
            counted.params / bare - 1,
            measured.share,
            measured.interval,
            change,
        )


def without(network: Network, gone: Sequence[Gated], by: By = "blocks") -> Network:
    """Return a network without squeeze-and-excitation in these blocks (by stages: in their whole stages)."""
    if not gone:
        return network
    if by == "stages":
        return recalibrate(network, None, stages=list(dict.fromkeys(each.stage for each in gone)))
    return recalibrate(network, None, blocks=[each.block for each in gone])


def transferred(
    network: Network, module: ConvNet, changed: Network, gone: Sequence[Gated], means: dict[str, torch.Tensor]
) -> tuple[ConvNet, tuple[str, ...]]:
    """Build a network without some gates, with the weights of the one that has them and the gates' means folded in.

    Returns it and the blocks where folding is not exact.
    """
    device = next(module.parameters()).device
    whole = build(network, seed=0).to(device)  # a copy to be changed
    whole.load_state_dict(module.state_dict())
    foldings = {each: fold(network, each.gate, means[each.gate]) for each in gone}
    for folding in foldings.values():
        apply(folding.edits, whole)
    prefixes = tuple(f"{each.gate}." for each in gone)
    kept = [tensor for name, tensor in whole.state_dict().items() if not name.startswith(prefixes)]
    target = build(changed, seed=0).to(device)
    # Stages may have been split and so renamed, but the layers are the same ones in the same order.
    target.load_state_dict(dict(zip(target.state_dict(), kept, strict=True)))
    target.to(memory_format=torch.channels_last)
    inexact = tuple(each.block for each, folding in foldings.items() if not folding.exact)
    return target.eval(), inexact


def _gates(layer: Layer, path: str) -> Iterator[str]:
    if isinstance(layer, Gate):
        yield path
    elif isinstance(layer, Combinator):
        for inner, part in children(layer, path):
            yield from _gates(part, inner)
