"""Notation for rows of filters, so that Inception's tables look as their papers print them.

"64"            1x1 convolution to 64 maps, normalised, ReLU
"96 128@3"      one after the other: 1x1 to 96, then 3x3 to 128
"192@1x7"       window of 1 x 7 (height x width)
"384@3/2"       stride 2; "384@3/2v" without padding ("valid"), which cuts the edge off
"max", "avg@3"  3x3 pool; "max@3/2c" keeps windows that reach beyond the edge, as Caffe does
"256@1x3|256@3x1"  two that read the same input, side by side
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, cast

from convwright.arch.layers import Act, Concat, Conv, Layer, Norm, Pool, Seq
from convwright.arch.node import brief
from convwright.arch.rounding import round_width
from convwright.errors import NetworkError

_STEP = re.compile(
    r"(?P<what>[1-9][0-9]{0,6}|max|avg)"
    r"(@(?P<height>[1-9][0-9]{0,3})(x(?P<width>[1-9][0-9]{0,3}))?)?(/(?P<stride>[1-9]))?(?P<edge>[vc])?"
)


@dataclass(frozen=True, slots=True)
class Step:
    """One convolution or pool of a row.

    `edge` is "v" for no padding, "c" for no padding and windows that reach beyond the edge.
    """

    what: int | Literal["max", "avg"]
    kernel: tuple[int, int]
    stride: int = 1
    edge: str = ""

    @classmethod
    def read(cls, text: str) -> "Step":
        """Read one step.

        Raises:
            NetworkError: The text is no step.
        """
        match = _STEP.fullmatch(text)
        if match is None:
            raise NetworkError(f"{brief(text)} is not a filter; write one like 64, 128@3, 192@1x7, 384@3/2v or max@3/2")
        pool = match["what"] in ("max", "avg")
        height = int(match["height"] or (3 if pool else 1))
        step = cls(
            cast(Literal["max", "avg"], match["what"]) if pool else int(match["what"]),
            (height, int(match["width"] or height)),
            int(match["stride"] or 1),
            match["edge"] or "",
        )
        if (pool and step.kernel[0] != step.kernel[1]) or (not pool and step.edge == "c"):
            raise NetworkError(f'{brief(text)} is not a filter: pools have square windows, and convolutions no "c"')
        return step

    def __str__(self) -> str:
        height, width = self.kernel
        usual = 1 if isinstance(self.what, int) else 3
        kernel = "" if height == width == usual else f"@{height}" if height == width else f"@{height}x{width}"
        return f"{self.what}{kernel}{f'/{self.stride}' if self.stride > 1 else ''}{self.edge}"

    def widened(self, factor: float) -> "Step":
        """Scale the output channels of a convolution; a pool has none of its own."""
        if isinstance(self.what, str):
            return self
        return Step(round_width(self.what, factor), self.kernel, self.stride, self.edge)

    def unstrided(self) -> "Step":
        """Set stride 1 and keep the size of the map; a window larger than 3 becomes 3, as the stride was its reason."""
        height, width = (min(3, side) | 1 for side in self.kernel)
        return Step(self.what, (height, width)) if self.stride > 1 else self

    def layers(self, eps: float, include_pad: bool) -> Layer:
        """Return convolution, normalisation and ReLU, or the pool."""
        height, width = self.kernel
        if isinstance(self.what, str):
            padding = 0 if self.edge or height == 2 else height // 2
            return Pool(self.what, height, self.stride, padding, ceil=self.edge == "c", include_pad=include_pad)
        padding_of = None if not self.edge else 0
        kernel = height if height == width else (height, width)
        return Seq(Conv(self.what, kernel, self.stride, padding=padding_of), Norm(eps), Act())


Row = tuple[tuple[Step, ...], ...]
"""Steps in sequence; several steps in one place are parallel branches."""


@lru_cache(maxsize=1024)
def read(text: str) -> Row:
    """Read a row of steps.

    Raises:
        NetworkError: A step cannot be read.
    """
    row = tuple(tuple(map(Step.read, place.split("|"))) for place in text.split())
    if not row:
        raise NetworkError("a row of filters needs one filter or more")
    return row


def changed(text: str, change: Callable[[Step], Step]) -> str:
    """Return the row with every step changed."""
    return " ".join("|".join(str(change(step)) for step in place) for place in read(text))


def layers(text: str, eps: float, include_pad: bool) -> Layer:
    """Return the layer graph of a row."""
    places = ([step.layers(eps, include_pad) for step in place] for place in read(text))
    return Seq(*(Concat(*place) if len(place) > 1 else place[0] for place in places))


def check_rows(rows: tuple[str, ...]) -> None:
    """Check the rows of an Inception block.

    Raises:
        NetworkError: There is no row, or one cannot be read.
    """
    if not rows:
        raise NetworkError("an Inception block needs one row of filters or more")
    for row in rows:
        read(row)


def side_by_side(rows: tuple[str, ...], eps: float, include_pad: bool) -> Layer:
    """Return the layer graph of rows that read the same input; their outputs are concatenated."""
    graphs = [layers(row, eps, include_pad) for row in rows]
    return Concat(*graphs) if len(graphs) > 1 else graphs[0]
