"""Names beside points, placed so that they hide neither each other nor what is drawn."""

import textwrap
from collections.abc import Sequence
from typing import NamedTuple

WIDTH, HEIGHT = 290.0, 330.0
"""Pixels of the smallest plot that the names must fit in, a phone's; on a larger one points only move apart."""
CHARACTER, LINE, GAP, DOT = 7.8, 17.0, 10.0, 7.0
"""Pixels: a character's width, a line's height, from a point to its name, half a point."""
LONGEST_LINE = 18
LONGEST_NAME = 34
"""Characters of a name above a bar, so that it fits on a phone."""

Range = tuple[float, float]


class Dot(NamedTuple):
    """A point with a vertical interval, and the lines of its name; in the units of the axes."""

    x: float
    y: float
    interval: Range
    lines: list[str]


class Place(NamedTuple):
    """Where a name goes: its anchors, by Plotly's words, on a height of the plot and shifted by pixels."""

    xanchor: str
    yanchor: str
    y: float
    xshift: float
    yshift: float


class Box(NamedTuple):
    """A rectangle in pixels, y upwards."""

    left: float
    bottom: float
    right: float
    top: float

    def meets(self, other: "Box") -> bool:
        """Return whether the two boxes overlap."""
        apart = self.right <= other.left or other.right <= self.left
        return not (apart or self.top <= other.bottom or other.top <= self.bottom)

    def within(self, other: "Box") -> bool:
        """Return whether this box lies inside the other."""
        across = other.left <= self.left and self.right <= other.right
        return across and other.bottom <= self.bottom and self.top <= other.top


def wrapped(title: str) -> list[str]:
    """Break a title into lines short enough to stand beside a point."""
    return textwrap.wrap(title, LONGEST_LINE) or [title]


def place_names(dots: Sequence[Dot], x_range: Range, y_range: Range) -> list[Place | None]:
    """Return for each point where its name goes; None where there is no room for it."""
    plot = Box(0, 0, WIDTH, HEIGHT)
    taken = [mark for dot in dots for mark in _marks(dot, x_range, y_range)]
    places: list[Place | None] = []
    for dot in dots:
        for place in _choices(dot):
            box = _box(dot, place, x_range, y_range)
            if box.within(plot) and not any(box.meets(other) for other in taken):
                taken.append(box)
                places.append(place)
                break
        else:
            places.append(None)
    return places


def _choices(dot: Dot) -> list[Place]:
    """Return the places for a name by preference: beside the point, at an end of its interval, at the corners."""
    low, high = dot.interval
    sides = (("left", GAP), ("right", -GAP))  # anchored by its left edge, a name stands on the right
    beside = [Place(anchor, "middle", dot.y, shift, 0) for anchor, shift in sides]
    ends = [Place("center", "bottom", high, 0, GAP / 2), Place("center", "top", low, 0, -GAP / 2)]
    corners = [
        Place(anchor, yanchor, dot.y, shift, yshift)
        for yanchor, yshift in (("bottom", DOT / 2), ("top", -DOT / 2))
        for anchor, shift in sides
    ]
    return beside + ends + corners


def _box(dot: Dot, place: Place, x_range: Range, y_range: Range) -> Box:
    width, height = CHARACTER * max(map(len, dot.lines)), LINE * len(dot.lines)
    x = _pixels(dot.x, x_range, WIDTH) + place.xshift
    y = _pixels(place.y, y_range, HEIGHT) + place.yshift
    left = x - width * {"left": 0, "center": 0.5, "right": 1}[place.xanchor]
    bottom = y - height * {"bottom": 0, "middle": 0.5, "top": 1}[place.yanchor]
    return Box(left, bottom, left + width, bottom + height)


def _marks(dot: Dot, x_range: Range, y_range: Range) -> tuple[Box, Box]:
    """Return what a point and its interval cover."""
    x, y = _pixels(dot.x, x_range, WIDTH), _pixels(dot.y, y_range, HEIGHT)
    low, high = (_pixels(bound, y_range, HEIGHT) for bound in dot.interval)
    return Box(x - DOT, y - DOT, x + DOT, y + DOT), Box(x - DOT / 2, low, x + DOT / 2, high)


def _pixels(value: float, bounds: Range, size: float) -> float:
    return (value - bounds[0]) / (bounds[1] - bounds[0]) * size
