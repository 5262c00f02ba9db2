"""The inside of a block as a flow chart, top to bottom, drawn from its layer graph alone.

Everything is a `Shape2D`: a drawing around a vertical axis along which data flows. Stacked figures (a sequence), and
figures side by side between a fork and a join (a sum, a concatenation, a gate), are figures again.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from convwright.arch.layers import (
    Act,
    Add,
    Combinator,
    Concat,
    Conv,
    Dropout,
    Gate,
    GlobalPool,
    Identity,
    Layer,
    Linear,
    Norm,
    PadChannels,
    Pool,
    Scale,
    Seq,
)
from convwright.arch.shapes import pair
from convwright.arch.svg import Canvas, text_width

if TYPE_CHECKING:
    from convwright.arch.cost import LayerCost

GAP = 9.0
"""Between a layer and the next."""
FORK = 16.0
"""From the fork to the first layers of the branches, and from their last layers to the join."""
ASIDE = 20.0
"""Between branches."""
JOIN = 9.0
"""Radius of a join."""
TEXT = 11.0

_ROLES: dict[type[Layer], str] = {
    Conv: "conv",
    Norm: "norm",
    Act: "act",
    Pool: "pool",
    GlobalPool: "pool",
    Linear: "linear",
}
_ACTIVATIONS = {"relu": "ReLU", "relu6": "ReLU6", "silu": "SiLU", "gelu": "GELU"}


class Shape2D(NamedTuple):
    """A drawing's extent left and right of its axis, its height, and the function that draws it from its top."""

    left: float
    right: float
    height: float
    draw: Callable[[Canvas, float, float], None]


def flowchart(layer: Layer, rows: Iterator["LayerCost"]) -> Shape2D:
    """Draw a layer graph.

    Args:
        layer: The layer graph.
        rows: Its layers' costs in the order in which `cost` visits them.
    """
    match layer:
        case Identity():
            return Shape2D(0, 0, 0, lambda *_: None)
        case Seq():
            return _sequence(layer, rows)
        case Add():
            branches = [flowchart(part, rows) for part in layer.parts]
            next(rows)
            return _joined(branches, "+", main=0)
        case Concat():
            branches = [flowchart(part, rows) for part in layer.parts]
            return _concatenation(layer, branches, next(rows))
        case Gate():
            branch = _framed(_sequence(layer, rows), layer.label.upper())
            next(rows)
            return _joined([flowchart(Identity(), rows), branch], "×", main=0, aside="right")
    return _primitive(layer, next(rows), 0)


def label(layer: Layer, row: "LayerCost") -> str:
    """Return a primitive in the papers' notation: `conv 3×3, 64, /2`."""
    match layer:
        case Conv():
            depthwise = layer.groups > 1 and layer.groups == row.input[0]
            kind = "depthwise" if depthwise else "conv"
            groups = f", {layer.groups} groups" if layer.groups > 1 and not depthwise else ""
            return f"{kind} {_size(layer.kernel)}, {layer.out}{groups}{_stride(layer.stride)}"
        case Pool():
            return f"{layer.function} pool {_size(layer.kernel)}{_stride(layer.stride)}"
        case Linear():
            return f"linear, {row.output[0]}"
        case Act():
            return _ACTIVATIONS.get(layer.function, layer.function)
        case Norm():
            return "batch norm"
        case GlobalPool():
            return "global average pool"
        case Dropout():
            return f"dropout {layer.rate:g}"
        case PadChannels():
            return f"zeros up to {layer.out}"
        case Scale():
            return f"times {layer.factor:g}"
    return layer.kind


def _size(size: int | tuple[int, int]) -> str:
    height, width = pair(size)
    return f"{height}×{width}"


def _stride(stride: int | tuple[int, int]) -> str:
    height, width = pair(stride)
    if height == width:
        return f", /{height}" if height > 1 else ""
    return f", /{height}×{width}"


def _primitive(layer: Layer, row: "LayerCost", width: float) -> Shape2D:
    text = label(layer, row)
    width = max(width, 96, text_width(text, TEXT) + 16)
    height = 18.0 if isinstance(layer, Norm | Act | Dropout) else 24.0

    def draw(canvas: Canvas, x: float, y: float) -> None:
        canvas.box(x - width / 2, y, width, height, _ROLES.get(type(layer), "plain"))
        canvas.text(x, y + height / 2 + 0.36 * TEXT, text, TEXT)

    return Shape2D(width / 2, width / 2, height, draw)


def _sequence(sequence: Combinator, rows: Iterator["LayerCost"]) -> Shape2D:
    """One below the other; the primitives among them equally wide."""
    parts = []
    for part in sequence.parts:
        simple = not isinstance(part, Combinator | Identity)
        parts.append((part, next(rows)) if simple else flowchart(part, rows))
    labels = [label(*part) for part in parts if not isinstance(part, Shape2D)]
    width = max((text_width(text, TEXT) + 16 for text in labels), default=0)
    figures = [part if isinstance(part, Shape2D) else _primitive(*part, width) for part in parts]
    return _stack(figures)


def _stack(figures: Sequence[Shape2D]) -> Shape2D:
    def draw(canvas: Canvas, x: float, y: float) -> None:
        for index, figure in enumerate(figures):
            if index:
                canvas.line((x, y), (x, y + GAP))
                y += GAP
            figure.draw(canvas, x, y)
            y += figure.height

    return Shape2D(
        max((f.left for f in figures), default=0),
        max((f.right for f in figures), default=0),
        sum(f.height for f in figures) + GAP * max(0, len(figures) - 1),
        draw,
    )


def _concatenation(concat: Concat, branches: Sequence[Shape2D], row: "LayerCost") -> Shape2D:
    """A dense layer: the new maps on the axis, the old ones around them; else branches side by side."""
    text = f"concat, {row.output[0]}"
    if len(branches) == 2:
        return _joined(branches, text, main=1 if isinstance(concat.parts[0], Identity) else 0)
    return _joined(branches, text, main=None)


def _joined(branches: Sequence[Shape2D], symbol: str, *, main: int | None, aside: str = "left") -> Shape2D:
    """Fork, branches and join. The main branch stays on the axis, the other ones stand aside of it."""
    order = list(branches)
    if main is not None:
        others = [branch for index, branch in enumerate(branches) if index != main]
        order = [*others, branches[main]] if aside == "left" else [branches[main], *others]
    places, cursor = [], 0.0
    for branch in order:
        places.append(cursor + branch.left)
        cursor += branch.left + branch.right + ASIDE
    total = cursor - ASIDE
    half = max(JOIN, text_width(symbol, TEXT) / 2 + 9) if len(symbol) > 1 else JOIN
    axis = total / 2 if main is None else places[-1 if aside == "left" else 0]
    deepest = max(branch.height for branch in order)
    height = deepest + 2 * FORK + 2 * JOIN

    def draw(canvas: Canvas, x: float, y: float) -> None:
        begin, join = y + FORK, y + height - JOIN
        for branch, place in zip(order, places, strict=True):
            at = x - axis + place
            canvas.line((x, y), *([] if at == x else [(x, y + FORK / 2), (at, y + FORK / 2)]), (at, begin))
            branch.draw(canvas, at, begin)
            below = begin + branch.height
            if at == x:
                canvas.line((x, below), (x, join - JOIN), arrow=True)
            else:
                edge = x - half if at < x else x + half
                canvas.line((at, below), (at, join), (edge, join), arrow=True)
        _join(canvas, x, join, symbol, half)

    return Shape2D(max(axis, half), max(total - axis, half), height, draw)


def _join(canvas: Canvas, x: float, y: float, symbol: str, half: float) -> None:
    if len(symbol) == 1:
        canvas.circle(x, y, JOIN, "join")
        canvas.text(x, y + 5, symbol, 15, bold=True)
    else:
        canvas.box(x - half, y - JOIN, 2 * half, 2 * JOIN, "join", JOIN)
        canvas.text(x, y + 0.36 * TEXT, symbol, TEXT)


def _framed(figure: Shape2D, caption: str) -> Shape2D:
    """Put a dashed frame around a figure, with a caption in its upper left corner."""
    margin, top = 8.0, 20.0
    left, right = figure.left + margin, figure.right + margin

    def draw(canvas: Canvas, x: float, y: float) -> None:
        begin, end = y + top, y + top + figure.height
        canvas.box(x - left, y, left + right, top + figure.height + margin, "frame", 7)
        canvas.text(x - left + margin, y + 14, caption, 10, ink="soft", bold=True, anchor="start")
        canvas.line((x, y), (x, begin))
        figure.draw(canvas, x, begin)
        canvas.line((x, end), (x, end + margin))

    return Shape2D(left, right, top + figure.height + margin, draw)
