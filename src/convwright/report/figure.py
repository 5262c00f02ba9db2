"""What a figure of the page is made of: plots, pictures, words, and the numbers behind them."""

from dataclasses import dataclass, field
from typing import Any

import plotly.graph_objects as go


@dataclass(frozen=True)
class Panel:
    """One plot of a figure."""

    heading: str
    plot: go.Figure
    alt: str
    """What one sees, for those who cannot."""


@dataclass(frozen=True)
class Picture:
    """One image of a gallery."""

    uri: str
    """The image itself, as a data URI."""
    alt: str
    lines: tuple[str, ...] = ()
    """What stands below it; the first is the more important one."""
    pixelated: bool = False
    """Is it so small that it is enlarged without smoothing?"""


@dataclass(frozen=True)
class Gallery:
    """Pictures under one heading."""

    heading: str
    pictures: tuple[Picture, ...]
    columns: int | None = None
    """Pictures in a row, where rows mean something; None: as many as there is room for."""


@dataclass(frozen=True)
class Figure:
    """Panels and galleries under one caption."""

    name: str
    title: str
    caption: str
    panels: tuple[Panel, ...] = ()
    legend: bool = False
    """Must the page say which colour is which network?"""
    curves: bool = False
    """Must the legend tell training from validation?"""
    galleries: tuple[Gallery, ...] = ()
    findings: tuple[str, ...] = ()
    """What is to be seen in it, worked out from the numbers; a sentence each."""
    facts: Any = field(default=None, compare=False)
    """The figure as data that JSON can carry; None where the networks' own data says it all."""
