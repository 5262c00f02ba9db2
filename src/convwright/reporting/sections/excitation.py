"""What squeeze-and-excitation does at each depth: SENet's Figures 6 and 7."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from html import escape
from typing import Any, NamedTuple

import plotly.graph_objects as go
import torch

from convwright.data import Split
from convwright.display.figures import Figure, Panel, axis, colour, empty_plot, symbol
from convwright.display.wording import counted, percent
from convwright.errors import NetworkError
from convwright.explain.excitation import (
    NEAR_ONE,
    BlockExcitation,
    MeasuredExcitations,
    chosen_classes,
    run_excitations,
)
from convwright.explain.excitation_figures import by_class
from convwright.reporting.entry import Entry
from convwright.reporting.predicted import Predicted

MOST_IMAGES = 1000
"""Evenly spaced over the split: means over a hundred images a class are steady enough to look at."""
GATES_SHOWN = 3


class NetworkExcitations(NamedTuple):
    """The excitations of one network and its number on the page."""

    number: int
    entry: Entry
    excitations: MeasuredExcitations


def excitation_figures(entries: Sequence[Entry]) -> Iterator[Figure]:
    """Yield class-specificity and saturation by depth, and the curves of each network that has gates."""
    found = []
    for index, entry in enumerate(entries):
        if entry.predicted and (measured := _measured(entry.predicted, entry.split)):
            found.append(NetworkExcitations(index, entry, measured))
    if found:
        yield _by_depth(found)
    for one in found:
        yield _curves(one)


def _measured(predictions: Predicted, which: str) -> MeasuredExcitations | None:
    """Measure a network's gates on some images of the split; None if it has no gates."""
    try:
        return run_excitations(predictions.predictor, predictions.data, _some(predictions.parts[0]), which)
    except NetworkError:
        return None


def _some(split: Split) -> Split:
    step = -(-len(split) // MOST_IMAGES)
    return split.choose(torch.arange(0, len(split), step))


def _by_depth(found: Sequence[NetworkExcitations]) -> Figure:
    counts = " and ".join(dict.fromkeys(counted(one.excitations.images, "image") for one in found))
    ends = "; ".join(
        f"{one.entry.title} from {_share(one.excitations.blocks[0])} in the first gate to "
        f"{_share(one.excitations.blocks[-1])} in the last"
        for one in found
    )
    most = "; ".join(
        f"{one.entry.title} at most {percent(max(block.saturation() for block in one.excitations.blocks))}"
        for one in found
    )
    return Figure(
        "excitation",
        "Squeeze-and-excitation by depth",
        f"The gates of each network from its first to its last, over {counts} evenly spaced in the split. "
        f"{found[0].excitations.definition} Near one means {NEAR_ONE:g} or more.",
        (
            Panel("Class-specificity", _depth(found, specific=True), f"Line chart of class-specificity: {ends}."),
            Panel("Saturated channels", _depth(found, specific=False), f"Line chart of saturated channels: {most}."),
        ),
        legend=True,
        members=tuple(one.number for one in found),
        findings=tuple(map(_finding, found)),
        facts=[_as_json(one) for one in found],
    )


def _finding(one: NetworkExcitations) -> str:
    blocks = one.excitations.blocks
    saturated = f"In the last gate, {percent(blocks[-1].saturation())} of the channels are saturated."
    if None in [block.specificity for block in blocks]:
        return f"{one.entry.title}: too few images per class to measure the class-specificity of its gates. {saturated}"
    most = max(blocks, key=lambda block: block.specificity or 0)
    return (
        f"{one.entry.title}: classes account for {_share(blocks[0])} of the variance in the first gate and "
        f"{_share(blocks[-1])} in the last; most, {_share(most)}, in {most.name}. {saturated}"
    )


def _share(block: BlockExcitation) -> str:
    return "an unknown share" if block.specificity is None else percent(block.specificity)


def _depth(found: Sequence[NetworkExcitations], *, specific: bool) -> go.Figure:
    most = max(len(one.excitations.blocks) for one in found)
    plot = empty_plot(
        height=330,
        x=axis(title="gate, from input to output", range=[0.5, most + 0.5], dtick=max(1, most // 8), tick0=1),
        y=axis(range=[-0.02, 1.02], tickformat=".0%", nticks=6),
    )
    for index, entry, excitations in found:
        blocks = excitations.blocks
        plot.add_scatter(
            x=list(range(1, len(blocks) + 1)),
            y=[block.specificity if specific else block.saturation() for block in blocks],
            customdata=[block.name for block in blocks],
            mode="lines+markers",
            line={"color": colour(index), "width": 2},
            marker={"symbol": symbol(index), "size": 8},
            cliponaxis=False,
            hovertemplate=f"{escape(entry.title)}, %{{customdata}}: %{{y:.1%}}<extra></extra>",
        )
    return plot


def _curves(one: NetworkExcitations) -> Figure:
    shown = chosen_classes(one.excitations.classes, counts=one.excitations.counts)
    drawn = by_class(one.excitations, shown)
    last = len(drawn.panels) - 1
    places = dict.fromkeys(round(last * step / (GATES_SHOWN - 1)) for step in range(GATES_SHOWN))
    return replace(
        drawn,
        name=f"excitation-{one.number + 1}",
        title=f"Excitations: {one.entry.title}",
        caption="The mean excitation of each channel, for some classes and for all images, in gates from the first to "
        "the last. Where the curves coincide, a gate treats all classes alike; where they differ, it weights channels "
        f"by class. {one.excitations.too_few()}".rstrip(),
        panels=tuple(drawn.panels[place] for place in places),
    )


def _as_json(one: NetworkExcitations) -> dict[str, Any]:
    gates = [
        {
            "gate": block.name,
            "channels": block.channels,
            "specificity": block.specificity,
            "saturation": block.saturation(),
            "spread": block.spread,
            "mean": block.overall.tolist(),
        }
        for block in one.excitations.blocks
    ]
    return {"network": one.entry.title, "images": one.excitations.images, "gates": gates}
