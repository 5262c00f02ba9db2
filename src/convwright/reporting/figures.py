"""Figures of pages; they are defined in `convwright.display.figures`."""

from convwright.display.figures import (
    COLOURS,
    HEATS,
    SHADES,
    SYMBOLS,
    Figure,
    Gallery,
    Panel,
    Picture,
    axis,
    colour,
    empty_plot,
    glyph,
    heat_scale,
    log_axis,
    note,
    symbol,
)

__all__ = [
    "COLOURS",
    "HEATS",
    "SHADES",
    "SYMBOLS",
    "Figure",
    "Gallery",
    "Panel",
    "Picture",
    "axis",
    "colour",
    "empty_plot",
    "glyph",
    "heat_scale",
    "log_axis",
    "note",
    "symbol",
]
