"""Figures of excitations: SENet's Figures 6 and 7, both by depth, and the cost of dropping gates."""

import math
from collections.abc import Sequence
from html import escape

import plotly.graph_objects as go

from convwright.display.figures import COLOURS, Figure, Panel, axis, colour, empty_plot, symbol, whole_axis
from convwright.display.wording import count, listed, percent, points, points_between
from convwright.explain.dropping import DropStep
from convwright.explain.excitation import DEFINITION, BlockExcitation, MeasuredExcitations
from convwright.explain.variants import SPLITS

MOST_PANELS = 8
"""Gates of a deeper network are drawn from the first to the last at even distances."""
BANDS = 2
"""Classes whose spread is drawn: more bands would hide each other."""
OTHERS = COLOURS - 1
"""The colour of the average over all classes."""
ALL = (colour(OTHERS), "all images")
"""The key of that average."""


def by_class(found: MeasuredExcitations, shown: Sequence[int]) -> Figure:
    """Draw the mean excitation of each channel, for some classes and for all images (SENet, Figure 6)."""
    panels = []
    bounds = _bounds(found)
    for block in drawn_blocks(found):
        plot = _channels(block, bounds)
        _curve(plot, block.overall, OTHERS, "all images", width=2.5)
        for place, index in enumerate(shown):
            _curve(plot, block.mean[index], place, found.counted(index))
        alt_summary = f"class-specific {_figure(block.specificity, 2)}, mean {float(block.overall.mean()):.2f}"
        panels.append(
            Panel(f"{block.name}: {alt_summary}", plot, f"Line chart of excitations of {block.name}; {alt_summary}.")
        )
    names = listed([*map(found.counted, shown), "all images (grey)"])
    return Figure(
        "excitation-classes",
        "Mean excitation of each channel, by class",
        f"{found.network}, {found.images:,} {found.split} images: {names}. Where the curves fall together, a block "
        f"gates all classes alike.{_left_out(found)} {DEFINITION}",
        tuple(panels),
        keys=(*_keys(found, shown), ALL),
    )


def within_class(found: MeasuredExcitations, shown: Sequence[int]) -> Figure:
    """Draw the mean excitation and its spread within a class (SENet, Figure 7)."""
    panels = []
    bounds = _bounds(found)
    for block in drawn_blocks(found):
        plot = _channels(block, bounds)
        for place, index in enumerate(shown):
            _band(plot, block.mean[index], block.std[index], place)
            _curve(plot, block.mean[index], place, found.counted(index))
        spreads = ", ".join(f"{found.classes[i]} {float(block.std[i].mean()):.3f}" for i in shown)
        alt = f"Line chart with bands: excitations of {block.name}, standard deviation within a class {spreads}."
        panels.append(Panel(f"{block.name}: spread {block.spread:.3f}", plot, alt))
    return Figure(
        "excitation-spread",
        "Excitations within a class",
        f"Mean of each channel over the images of {listed(map(found.counted, shown))}; bands are one "
        f"standard deviation over the images of the class.{_left_out(found)}",
        tuple(panels),
        keys=_keys(found, shown),
    )


def by_depth(found: MeasuredExcitations, threshold: float) -> Figure:
    """Draw class-specificity, saturation and spread of every gate, from the first to the last."""
    lines: tuple[tuple[str, list[float | None]], ...] = (
        ("class-specific: share of variance between classes", [b.specificity for b in found.blocks]),
        (f"saturated: channels at {threshold:g} or more", [b.saturation(threshold) for b in found.blocks]),
        ("spread within a class", [b.spread for b in found.blocks]),
    )
    panels = tuple(
        Panel(
            name,
            _depth(found, values, place),
            f"Line chart over {len(values)} gates: {_figure(values[0])} at the first, {_figure(values[-1])} at the "
            "last.",
        )
        for place, (name, values) in enumerate(lines)
    )
    return Figure(
        "excitation-depth",
        "Excitations by depth",
        f"Every gate of {found.network}, from the first to the last, on {found.images:,} {found.split} images.",
        panels,
    )


def dropping_costs(network: str, split: str, steps: Sequence[DropStep], measure: str = "accuracy") -> Figure:
    """Draw accuracy against parameters as squeeze-and-excitation is taken out."""
    images = SPLITS[split]
    plot = empty_plot(
        height=330, x=axis(title="parameters", tickformat="~s", nticks=6), y=axis(tickformat=".1~%", nticks=6)
    )
    bars = {
        "type": "data",
        "symmetric": False,
        "array": [step.interval[1] - step.accuracy for step in steps],
        "arrayminus": [step.accuracy - step.interval[0] for step in steps],
        "color": colour(0),
        "thickness": 1.5,
        "width": 4,
    }
    plot.add_scatter(
        x=[step.params for step in steps],
        y=[step.accuracy for step in steps],
        mode="lines+markers+text",
        text=[str(step.step) for step in steps],
        textposition="top right",
        line={"color": colour(0), "width": 2},
        marker={"symbol": "circle", "size": 8},
        error_y=bars,
        customdata=[[escape(step.without), count(step.macs), _change(step)] for step in steps],
        hovertemplate="without %{customdata[0]}: %{y:.1%}<br>%{customdata[1]} MACs%{customdata[2]}<extra></extra>",
    )
    steps_text = "; ".join(f"{step.step}: {step.without}, {percent(step.accuracy)}" for step in steps)
    return Figure(
        "excitation-drop",
        f"{measure.capitalize()} without squeeze-and-excitation",
        f"{measure.capitalize()} of {network} on {images} images with 95\u00a0% intervals, without training again, "
        "after each step (its number at the point); the mean excitation is folded into the weights. All steps are "
        "measured on the same images: each point also has the change from step 0, in points, with its interval. "
        f"{steps_text}.",
        (
            Panel(
                f"{measure.capitalize()} on {images} images",
                plot,
                f"Line chart of {measure} against parameters. {steps_text}.",
            ),
        ),
    )


def _change(step: DropStep) -> str:
    if step.change is None:
        return ""
    return f"<br>change {points(step.change.difference)} ({points_between(step.change.interval)})"


def drawn_blocks(found: MeasuredExcitations) -> list[BlockExcitation]:
    """Return the gates that are drawn: all, or some from the first to the last."""
    last = len(found.blocks) - 1
    if last < MOST_PANELS:
        return list(found.blocks)
    return [found.blocks[round(last * place / (MOST_PANELS - 1))] for place in range(MOST_PANELS)]


def _left_out(found: MeasuredExcitations) -> str:
    drawn = len(drawn_blocks(found))
    gates = f" {drawn} of {len(found.blocks)} gates are drawn." if drawn < len(found.blocks) else ""
    return gates + f" {found.too_few()}".rstrip()


def _keys(found: MeasuredExcitations, shown: Sequence[int]) -> tuple[tuple[str, str], ...]:
    return tuple((colour(place), found.counted(index)) for place, index in enumerate(shown))


def _figure(value: float | None, digits: int = 3) -> str:
    return "unknown" if value is None else f"{value:.{digits}f}"


def _bounds(found: MeasuredExcitations) -> list[float]:
    """Return the same range for all gates, as narrow as the classes with images allow."""
    present = [(block.mean[block.present], block.std[block.present]) for block in drawn_blocks(found)]
    low = min(float((mean - std).min()) for mean, std in present)
    high = max(float((mean + std).max()) for mean, std in present)
    return [math.floor(10 * low) / 10 - 0.02, math.ceil(10 * high) / 10 + 0.02]


def _channels(block: BlockExcitation, bounds: list[float]) -> go.Figure:
    x = whole_axis(0, block.channels - 1, 6, title="channel")
    return empty_plot(height=230, x=x, y=axis(range=bounds, nticks=5))


def _curve(plot: go.Figure, values: object, place: int, name: str, width: float = 1.5) -> None:
    plot.add_scatter(
        y=values.tolist(),  # type: ignore[attr-defined]
        mode="lines",
        line={"color": colour(place), "width": width},
        hovertemplate=f"{escape(name)}: %{{y:.3f}}<extra></extra>",
    )


def _band(plot: go.Figure, mean: object, std: object, place: int) -> None:
    """Shade one standard deviation about a curve."""
    low, high = (mean - std).tolist(), (mean + std).tolist()  # type: ignore[operator]
    channels = list(range(len(low)))
    plot.add_scatter(
        x=[*channels, *reversed(channels)],
        y=[*high, *reversed(low)],
        fill="toself",
        fillcolor=colour(place),
        line={"width": 0},
        mode="lines",
        opacity=0.2,
        hoverinfo="skip",
    )


def _depth(found: MeasuredExcitations, values: Sequence[float | None], place: int) -> go.Figure:
    plot = empty_plot(
        height=230,
        x=whole_axis(1, len(values), title="gate"),
        y=axis(
            range=[-0.02, 1.02] if place < 2 else [0, max(1.1 * max(filter(None, values), default=0), 1e-3)], nticks=5
        ),
    )
    plot.add_scatter(
        x=list(range(1, len(values) + 1)),
        y=list(values),
        mode="lines+markers",
        line={"color": colour(place), "width": 2},
        marker={"symbol": symbol(place), "size": 8},
        customdata=[block.name for block in found.blocks],
        hovertemplate="%{customdata}: %{y:.3f}<extra></extra>",
    )
    return plot
