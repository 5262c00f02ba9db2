"""Figures: plots and pictures under a caption, as pages and notebooks show them.

Colours are names of CSS variables: a page's style sheet defines them for light and dark, and `plotly_figures` replaces
them by their light values.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import plotly.graph_objects as go

COLOURS = 8
"""How many network colours the page's style defines, ``--network-0`` and up."""
SHADES = 6
"""How many shades the page's style defines from input to output, ``--depth-0`` and up."""
HEATS = 6
"""How many colours the page's style defines from low to high, ``--heat-0`` and up, and ``--fault-0`` likewise."""
SYMBOLS = {"circle": "●", "square": "■", "diamond": "◆", "triangle-up": "▲", "triangle-down": "▼"}


@dataclass(frozen=True)
class Panel:
    """One plot of a figure."""

    heading: str
    plot: go.Figure
    alt: str
    """Description for readers who cannot see the plot."""


@dataclass(frozen=True)
class Picture:
    """One image of a gallery."""

    uri: str
    """The image as a data URI."""
    alt: str
    lines: tuple[str, ...] = ()
    """Lines below the image; the first is the most important."""
    pixelated: bool = False
    """Whether the image is so small that it is enlarged without smoothing."""


@dataclass(frozen=True)
class Gallery:
    """Pictures under one heading."""

    heading: str
    pictures: tuple[Picture, ...]
    columns: int | None = None
    """Pictures in a row, where rows have a meaning; None: as many as there is room for."""


@dataclass(frozen=True)
class Figure:
    """Panels and galleries under one caption."""

    name: str
    title: str
    caption: str
    panels: tuple[Panel, ...] = ()
    legend: bool = False
    """Whether the page shows which colour is which network."""
    members: tuple[int, ...] | None = None
    """The networks that the legend names, by their numbers; None: all."""
    curves: bool = False
    """Whether the legend shows the lines of training and validation."""
    keys: tuple[tuple[str, str], ...] = ()
    """Colours that are not the networks', and what they stand for."""
    galleries: tuple[Gallery, ...] = ()
    findings: tuple[str, ...] = ()
    """Sentences on what the figure shows, computed from its values."""
    facts: Any = field(default=None, compare=False)
    """The figure's values for JSON; None where the networks' own fields hold them."""


def with_note(figures: Sequence[Figure], note: str) -> list[Figure]:
    """Return figures of which the first has a further sentence in its caption.

    Args:
        figures: The figures.
        note: The sentence; empty: nothing is added.
    """
    return [replace(one, caption=f"{one.caption} {note}") if note and one is figures[0] else one for one in figures]


def colour(index: int) -> str:
    """Return the colour of a page's network number `index`, the same in every figure."""
    return f"var(--network-{index % COLOURS})"


def symbol(index: int) -> str:
    """Return the marker of a page's network number `index`, by Plotly's name."""
    return list(SYMBOLS)[index % len(SYMBOLS)]


def glyph(index: int) -> str:
    """Return the character that looks like the marker of a page's network number `index`."""
    return SYMBOLS[symbol(index)]


def heat_scale(name: str = "heat") -> list[tuple[float, str]]:
    """Return a colour scale of the page, from low to high values: "heat", or "fault" for errors."""
    return [(step / (HEATS - 1), f"var(--{name}-{step})") for step in range(HEATS)]


def note(colour: str, align: str = "left") -> dict[str, Any]:
    """Return the style of a text in a plot, without arrow and frame."""
    return {"showarrow": False, "borderpad": 0, "align": align, "font": {"color": colour, "size": 13}}


def empty_plot(height: int, x: dict[str, Any], y: dict[str, Any]) -> go.Figure:
    """Return an empty plot in the page's style; its width is set by the page."""
    return go.Figure(
        layout={
            "template": go.layout.Template(),
            "height": height,
            "margin": {"l": 8, "r": 16, "t": 8, "b": 8},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "font": {"family": "var(--font)", "size": 12, "color": "var(--muted)"},
            "hoverlabel": {
                "bgcolor": "var(--paper)",
                "bordercolor": "var(--rule)",
                "font": {"family": "var(--font)", "color": "var(--ink)"},
            },
            "showlegend": False,
            "dragmode": False,
            "xaxis": {"showline": True, "linecolor": "var(--muted)"} | x,
            "yaxis": y,
        }
    )


def axis(**settings: Any) -> dict[str, Any]:
    """Return an axis in the page's style, with these settings."""
    plain = {"gridcolor": "var(--rule)", "zeroline": False, "automargin": True, "fixedrange": True}
    if isinstance(title := settings.get("title"), str):
        settings["title"] = {"text": title}
    return plain | settings


def whole_axis(low: int, high: int, most: int = 8, **settings: Any) -> dict[str, Any]:
    """Return an axis of whole numbers, such as positions, with a margin of a half and marks at whole numbers only.

    Args:
        low: Least number.
        high: Greatest number.
        most: Most marks, 4 or more; they are 1, 2 or 5 times a power of ten apart.
        settings: Further settings of the axis.
    """
    steps = (factor * 10**power for power in range(len(str(high - low + 1)) + 1) for factor in (1, 2, 5))
    step = next(each for each in steps if (high - low) // each < most)
    marks = range(-(-low // step) * step, high + 1, step)
    return axis(range=[low - 0.5, high + 0.5], tickvals=list(marks), **settings)


def log_axis(values: Sequence[float], room: float) -> dict[str, Any]:
    """Return a logarithmic axis with marks at 1, 2 and 5 times the powers of ten; `room` in powers of ten."""
    low, high = math.log10(min(values)) - room, math.log10(max(values)) + room
    steps = (1, 2, 5) if high - low < 3 else (1,)
    marks = [step * 10.0**power for power in range(math.floor(low), math.ceil(high) + 1) for step in steps]
    inside = [mark for mark in marks if low <= math.log10(mark) <= high]
    return axis(type="log", range=[low, high], tickvals=inside)
