"""Squeeze-and-excitation taken out of a trained network step by step, with accuracy and cost of each step.

The mean excitation of a block that loses its gate is folded into the weights around it (`gate_folding`).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import nn

from convwright.arch import recalibrate
from convwright.arch.cost import cost
from convwright.arch.layers import Combinator, Gate, Layer
from convwright.arch.network import Network
from convwright.brief import Brief
from convwright.errors import NetworkError, UsageError
from convwright.explain.dense_connections import channels_after, children
from convwright.explain.excitation import MeasuredExcitations
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
class DropStep(Brief):
    """A network without squeeze-and-excitation in some of its blocks."""

    step: int
    """Number of the step; 0 for the network as it was."""
    without: str
    """The stage or block that this step took squeeze-and-excitation out of."""
    blocks: tuple[str, ...]
    """All blocks that have lost it so far, by their paths in the network as it was."""
    inexact: tuple[str, ...]
    """The blocks among these whose mean could not be folded exactly: the body is scaled, the identity shortcut not."""
    network: Network
    module: nn.Module
    params: int
    macs: int
    over_none: float
    """Additional parameters over the same network without any squeeze-and-excitation, as a share of the latter."""
    accuracy: float
    """0 to 1; of a multi-label network, mean average precision."""
    interval: tuple[float, float]
    change: Change | None
    """Change of accuracy from step 0; None for step 0 itself."""
    thresholds: tuple[float, ...] | None = None
    """Of a multi-label network: for each class the threshold of highest F1 on the images measured."""

    def repr_fields(self) -> dict[str, object]:
        """Return what `repr` shows."""
        return {"step": self.step, "without": self.without, "params": self.params, "accuracy": self.accuracy}


def gated_blocks(network: Network) -> tuple[Gated, ...]:
    """Return every block with squeeze-and-excitation, in order.

    Raises:
        NetworkError: No block has squeeze-and-excitation that can be taken out.
    """
    found, channels = [], network.channels
    for stage, path, block in network.blocks():
        graph = block.layers(channels)
        channels = channels_after(graph, channels)
        if block.gateable and getattr(block, "se", None) is not None:
            found += [Gated(stage, path, gate) for gate in _gates(graph, path)]
    if not found:
        raise NetworkError(f"{network.name} has no squeeze-and-excitation to take out")
    return tuple(found)


def drop_order(network: Network, by: By, found: MeasuredExcitations | None = None) -> list[tuple[str, list[Gated]]]:
    """Return the gates that each step takes out, with the name of their stage or block.

    Args:
        network: The network.
        by: `stages` for the last stage first; `blocks` for the block first whose excitations vary least over images,
            since it is closest to the constant that takes its place.
        found: Excitations of the network, for the order by blocks.

    Raises:
        UsageError: The order is none of these, or excitations are missing for it.
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
    """Return the number of steps of `drop_steps` after step 0.

    Raises:
        NetworkError: The network has no squeeze-and-excitation that can be taken out.
    """
    every = gated_blocks(network)
    return len(every) if by == "blocks" else len({each.stage for each in every})


def drop_steps(
    network: Network,
    module: nn.Module,
    found: MeasuredExcitations,
    measure: Callable[[nn.Module], Accuracy],
    by: By,
) -> Iterator[DropStep]:
    """Take squeeze-and-excitation out step by step, and measure each step.

    Args:
        network: The network.
        module: The built network, which is not changed; each step builds a new one.
        found: Excitations of the network, whose means are folded into the weights.
        measure: Function from a module to its accuracy.
        by: Order of the steps; see `drop_order`.

    Yields:
        The steps; step 0 is the network as it was.
    """
    bare = cost(recalibrate(network, None)).params
    means = {block.name: block.overall for block in found.blocks}
    dropped: list[Gated] = []
    first: Accuracy | None = None
    for step, (label, some) in enumerate([("-", []), *drop_order(network, by, found)]):
        dropped += some
        changed = without(network, dropped, by)
        variant, inexact = folded(network, module, changed, dropped, means) if dropped else (module, ())
        counted, measured = cost(changed), measure(variant)
        change = None if first is None else measured.change_from(first)
        first = first or measured
        yield DropStep(
            step,
            label,
            tuple(each.block for each in dropped),
            inexact,
            changed,
            variant,
            counted.params,
            counted.macs,
            counted.params / bare - 1,
            measured.share,
            measured.interval,
            change,
            measured.thresholds,
        )


def without(network: Network, dropped: Sequence[Gated], by: By = "blocks") -> Network:
    """Return a network without squeeze-and-excitation in some blocks; by stages, in the whole stages of the blocks."""
    if not dropped:
        return network
    if by == "stages":
        return recalibrate(network, None, stages=list(dict.fromkeys(each.stage for each in dropped)))
    return recalibrate(network, None, blocks=[each.block for each in dropped])


def folded(
    network: Network, module: nn.Module, changed: Network, dropped: Sequence[Gated], means: dict[str, torch.Tensor]
) -> tuple[ConvNet, tuple[str, ...]]:
    """Build a network without some gates from a trained network that has them.

    Args:
        network: The network with the gates.
        module: The trained network.
        changed: The network without the gates.
        dropped: The gates.
        means: Mean excitation of each gate, by its path: a factor for each channel.

    Returns:
        The built network with the weights of `module`, into which the means are folded, and the blocks where folding
        is not exact.
    """
    device = next(module.parameters()).device
    whole = build(network, seed=0).to(device)  # a copy, whose weights are multiplied in place
    whole.load_state_dict(module.state_dict())
    foldings = {each: fold(network, each.gate, means[each.gate]) for each in dropped}
    for folding in foldings.values():
        apply(folding.edits, whole)
    prefixes = tuple(f"{each.gate}." for each in dropped)
    kept = [tensor for name, tensor in whole.state_dict().items() if not name.startswith(prefixes)]
    target = build(changed, seed=0).to(device)
    # Stages may have been split and renamed, but the layers are the same in the same order.
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
