"""A network as a drawing (SVG): its stages with the maps that leave them, and the inside of each distinct block."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from convwright.arch.blocks import Block
from convwright.arch.cost import Cost, StageCost, cost
from convwright.arch.flowchart import Shape2D, flowchart
from convwright.arch.layers import Combinator, Layer
from convwright.arch.resolution import format_sides, sides
from convwright.arch.shapes import Shape
from convwright.arch.svg import BLOCK_ROLES, Canvas, text_width, wrap
from convwright.errors import ArgumentError
from convwright.files import write_text
from convwright.places import check_file
from convwright.units import human, human_bytes, human_shape

if TYPE_CHECKING:
    from convwright.arch.network import Network

OTHER_PICTURES = (".png", ".jpg", ".jpeg", ".gif", ".webp", ".pdf")
"""Suffixes of pictures that are not SVG."""
WIDTH = 1280.0
MARGIN = 28.0
INNER = WIDTH - 2 * MARGIN
PARTS_A_ROW = 11
GUTTER = 12.0
TEXT, SMALL = 11.0, 10.5
CAPTION = 78.0
"""Height of a card's title and the three lines that name the places of its block."""


@dataclass(frozen=True, repr=False)
class Drawing:
    """A network as a drawing, which notebooks show.

    Args:
        name: Name of the network.
        svg: Text of the SVG file; `str` gives it too.
    """

    name: str
    svg: str

    def __str__(self) -> str:
        return self.svg

    def __repr__(self) -> str:
        return f"<Drawing of {self.name!r}: {len(self.svg):,} characters of SVG>"

    def _repr_html_(self) -> str:
        return self.svg

    def _repr_svg_(self) -> str:
        return self.svg

    def save(self, path: str | Path) -> None:
        """Write the drawing to a file.

        Args:
            path: The file; it is replaced if it exists.

        Raises:
            ArgumentError: The file cannot be written, or its name is that of another kind of picture.
        """
        check_svg("path", Path(path))
        write_text(Path(path), self.svg)


def check_svg(argument: str, path: Path) -> None:
    """Check that a drawing can be written to a file.

    Args:
        argument: Name of the parameter that holds the file, for the message.
        path: The file.

    Raises:
        ArgumentError: The file cannot be written, or its name is that of another kind of picture.
    """
    if path.suffix.lower() in OTHER_PICTURES:
        raise ArgumentError(argument, f"{path}: drawings are SVG; name a file that ends in .svg")
    check_file(argument, path)


def draw(network: "Network") -> Drawing:
    """Draw a network: its stages, and the inside of each kind of block."""
    return Drawing(network.name, diagram(network))


def diagram(network: "Network") -> str:
    """Return the text of a self-contained SVG file, readable on light and dark pages.

    Above is the flow from image to classes: the map that leaves each stage is drawn with a size that grows with the
    logarithm of its pixels, and a thickness that grows with that of its channels. Below is each distinct block,
    drawn from its layer graph.
    """
    costs = cost(network)
    roles = _roles(network)
    canvas = Canvas()
    y = _header(canvas, network, costs)
    y = _overview(canvas, network, costs, roles, y)
    y = _blocks(canvas, _specimens(costs), roles, y + 18)
    return canvas.document(WIDTH, y + MARGIN, f"{network.name}: architecture", _described(costs))


def _roles(network: "Network") -> dict[str, str]:
    """A colour for each kind of block in the stages; stem and head stay plain."""
    kinds = dict.fromkeys(type(stage.block).__name__ for stage in network.stages)
    return {kind: BLOCK_ROLES[index % len(BLOCK_ROLES)] for index, kind in enumerate(kinds)}


def _described(costs: Cost) -> str:
    parts = [f"{stage.name}: {_what(stage)}, out {human_shape(stage.output)}" for stage in costs.stages]
    return f"{_totals(costs)}. " + "; ".join(parts) + "."


def _totals(costs: Cost) -> str:
    return (
        f"{human(costs.params)} parameters, {human(costs.macs)} MACs (multiply-adds), "
        f"{human_bytes(costs.peak_bytes())} peak activation memory in float32"
    )


def _what(stage: StageCost) -> str:
    """Return the number and kind of a stage's blocks: `3 × Bottleneck`."""
    name = type(stage.blocks[0][1]).__name__
    return f"{len(stage.blocks)} × {name}" if len(stage.blocks) > 1 else name


def _header(canvas: Canvas, network: "Network", costs: Cost) -> float:
    y = MARGIN
    for line in wrap(network.name, 22 * 1.12, INNER):
        y += 26
        canvas.text(MARGIN, y - 6, line, 22, bold=True, anchor="start")
    made_for = f"{network.channels} × {format_sides(costs.resolution, '×')} images, {network.classes} classes"
    for text in (f"{made_for} · {_totals(costs)}", *map(str, network.papers)):
        for line in wrap(text, 12, INNER):
            y += 18
            canvas.text(MARGIN, y - 4, line, 12, ink="soft", anchor="start")
    return y


# The flow from image to classes


def _overview(canvas: Canvas, network: "Network", costs: Cost, roles: dict[str, str], y: float) -> float:
    """Draw the image and every part, in rows as even as can be. Returns where the drawing ends."""
    image = (network.channels, *sides(costs.resolution))
    count = len(costs.stages) + 1
    per_row = math.ceil(count / math.ceil(count / PARTS_A_ROW))
    pitch = INNER / per_row
    tallest = _slab_size(image)[1]
    for start in range(0, count, per_row):
        row = range(start, min(start + per_row, count))
        for index in row:
            x = MARGIN + pitch * (index - start + 0.5)
            stage = costs.stages[index - 1] if index else None
            output = stage.output if stage else image
            _slab(canvas, x, y + 20 + tallest, output)
            _part(canvas, x, y + 34 + tallest, pitch, stage, output, costs, roles)
            if index:
                begin = x - pitch + _part_width(pitch) / 2 if index > start else MARGIN - 14
                canvas.line((begin, y + 73 + tallest), (x - _part_width(pitch) / 2, y + 73 + tallest), arrow=True)
        y += tallest + 150
    return y


def _part_width(pitch: float) -> float:
    return min(pitch - 14, 150)


def _part(
    canvas: Canvas,
    x: float,
    y: float,
    pitch: float,
    stage: StageCost | None,
    output: Shape,
    costs: Cost,
    roles: dict[str, str],
) -> None:
    """Draw the output shape of a stage, its box, and its shares of parameters and MACs."""
    width = _part_width(pitch)
    flat = stage is not None and output[1:] == (1, 1)
    canvas.text(x, y + 2, f"{output[0]} scores" if flat else human_shape(output), SMALL)
    top = y + 18
    if stage is None:
        canvas.box(x - width / 2, top, width, 42, "plain")
        canvas.text(x, top + 25, "image", 12, bold=True)
        return
    what = _what(stage)
    canvas.box(x - width / 2, top, width, 42, roles.get(type(stage.blocks[0][1]).__name__, "plain"))
    canvas.text(x, top + 17, stage.name, min(12, _fitting(stage.name, width, bold=True)), bold=True)
    canvas.text(x, top + 33, what, min(SMALL, _fitting(what, width)))
    for row, (name, part, whole) in enumerate(
        (("params", stage.params, costs.params), ("MACs", stage.macs, costs.macs))
    ):
        _gauge(canvas, x - width / 2, top + 58 + 24 * row, width, name, part, whole)


def _fitting(text: str, width: float, *, bold: bool = False) -> float:
    """The largest size at which a text fits into a box."""
    return (width - 6) / text_width(text, 1, bold=bold)


def _gauge(canvas: Canvas, x: float, y: float, width: float, name: str, part: int, whole: int) -> None:
    """A figure, and under it a bar for its share of the whole network's."""
    canvas.text(x, y, human(part), SMALL, anchor="start")
    canvas.text(x + width, y, name, SMALL, ink="soft", anchor="end")
    canvas.box(x, y + 4, width, 4, "plain", 2)
    if part:
        canvas.box(x, y + 4, max(2, width * part / whole), 4, "gauge", 2)


def _slab_size(shape: Shape) -> tuple[float, float, float]:
    """Width, height and thickness at which a map is drawn: logarithmic, since pixels go from 1 to 600."""
    channels, height, width = shape
    return 6 + 8 * math.log2(width), 6 + 8 * math.log2(height), 3 + 2.2 * math.log2(channels)


def _slab(canvas: Canvas, x: float, bottom: float, shape: Shape) -> None:
    """A map seen from its front, upper side and right side, standing on a line."""
    width, height, thick = _slab_size(shape)
    left, top, rise = x - (width + thick) / 2, bottom - height, 0.5 * thick
    right = left + width
    canvas.polygon([(left, bottom), (right, bottom), (right, top), (left, top)], "front")
    canvas.polygon([(left, top), (right, top), (right + thick, top - rise), (left + thick, top - rise)], "upper")
    side = [(right, bottom), (right + thick, bottom - rise), (right + thick, top - rise), (right, top)]
    canvas.polygon(side, "side")


# The inside of blocks


class Specimen(NamedTuple):
    """A block of the network, drawn as the example of all blocks with the same structure."""

    block: Block
    chart: Shape2D
    input: Shape
    output: Shape
    paths: list[tuple[str, str]]
    """Stage and path of every block built so; the first is the one that is drawn."""


def _specimens(costs: Cost) -> list[Specimen]:
    """Return the first block of each structure; the others may have other widths, kernels and strides."""
    found: dict[object, Specimen] = {}
    for stage in costs.stages:
        shape = stage.input
        for path, block, block_cost in stage.blocks:
            layers = block.layers(shape[0])
            key = type(block), _skeleton(layers)
            if key not in found:
                chart = flowchart(layers, block_cost.layers)
                found[key] = Specimen(block, chart, shape, block_cost.output, [])
            found[key].paths.append((stage.name, path))
            shape = block_cost.output
    return list(found.values())


def _skeleton(layer: Layer) -> object:
    """Return the structure of a layer without its numbers."""
    if isinstance(layer, Combinator):
        return (layer.kind, *map(_skeleton, layer.parts))
    return layer.kind


def _blocks(canvas: Canvas, specimens: Sequence[Specimen], roles: dict[str, str], y: float) -> float:
    """Draw one card for each specimen, in columns that fill rows. Returns where the last row ends."""
    canvas.text(MARGIN, y + 8, "Inside each block", 16, bold=True, anchor="start")
    note = "drawn at the size of its first occurrence; widths, kernels and strides may differ in the others"
    canvas.text(MARGIN + 170, y + 8, note, TEXT, ink="soft", anchor="start")
    y += 24
    for row in _rows(_columns(specimens)):
        spare = INNER - sum(map(_column_width, row)) - GUTTER * (len(row) - 1)
        stretch = min(spare / len(row), 240)
        height = max(map(_column_height, row))
        x = MARGIN
        for column in row:
            width, top = _column_width(column) + stretch, y
            for specimen in column:
                last = specimen is column[-1]
                card_height = y + height - top if last else _card_height(specimen)
                _card(canvas, specimen, (x, top, width, card_height), roles)
                top += card_height + GUTTER
            x += width + GUTTER
        y += height + GUTTER
    return y - GUTTER


def _columns(specimens: Sequence[Specimen]) -> list[list[Specimen]]:
    """Put one card below another where both together are no higher than the highest."""
    tallest = max(map(_card_height, specimens))
    columns: list[list[Specimen]] = []
    for specimen in specimens:
        room = tallest - GUTTER - _card_height(specimen)
        shorter = next((column for column in columns if _column_height(column) <= room), None)
        if shorter is None:
            columns.append([specimen])
        else:
            shorter.append(specimen)
    return columns


def _rows(columns: Sequence[list[Specimen]]) -> list[list[list[Specimen]]]:
    """Break columns into rows that fit, and then as evenly as that many rows allow."""
    fitting = _filled(columns, len(columns))
    return _filled(columns, math.ceil(len(columns) / len(fitting)))


def _filled(columns: Sequence[list[Specimen]], most: int) -> list[list[list[Specimen]]]:
    rows: list[list[list[Specimen]]] = [[]]
    for column in columns:
        taken = sum(_column_width(other) + GUTTER for other in rows[-1])
        if rows[-1] and (len(rows[-1]) == most or taken + _column_width(column) > INNER):
            rows.append([])
        rows[-1].append(column)
    return rows


def _column_width(column: Sequence[Specimen]) -> float:
    return max(map(_card_width, column))


def _column_height(column: Sequence[Specimen]) -> float:
    return sum(map(_card_height, column)) + GUTTER * (len(column) - 1)


def _card_width(specimen: Specimen) -> float:
    title = text_width(type(specimen.block).__name__, 14, bold=True) + 32
    return max(specimen.chart.left + specimen.chart.right, title, 170) + 36


def _card_height(specimen: Specimen) -> float:
    return CAPTION + specimen.chart.height + 72


def _where(specimen: Specimen) -> str:
    """Return the places of a block: `stage2.block1, and 3 more: 1 in stage2, 2 in stage3`."""
    first, *others = specimen.paths
    if not others:
        return first[1]
    stages = [f"{len(list(group))} in {stage}" for stage, group in groupby(stage for stage, _ in others)]
    listed = ", ".join(stages if len(stages) < 6 else [*stages[:4], f"... {stages[-1]}"])
    return f"{first[1]}, and {len(others)} more: {listed}"


def _card(canvas: Canvas, specimen: Specimen, frame: tuple[float, float, float, float], roles: dict[str, str]) -> None:
    """Title, where it stands, and the flow chart between the shapes that enter and leave."""
    x, y, width, height = frame
    name, chart = type(specimen.block).__name__, specimen.chart
    canvas.box(x, y, width, height, "card", 8)
    canvas.box(x + 14, y + 15, 12, 12, roles.get(name, "plain"), 3)
    canvas.text(x + 33, y + 26, name, 14, bold=True, anchor="start")
    for index, line in enumerate(wrap(_where(specimen), SMALL, width - 26)[:3]):
        canvas.text(x + 14, y + 45 + 15 * index, line, SMALL, ink="soft", anchor="start")
    axis = x + (width - chart.left - chart.right) / 2 + chart.left
    top, bottom = y + CAPTION + 32, y + CAPTION + 32 + chart.height
    canvas.text(axis, top - 16, human_shape(specimen.input), SMALL)
    canvas.line((axis, top - 11), (axis, top))
    chart.draw(canvas, axis, top)
    canvas.line((axis, bottom), (axis, bottom + 12), arrow=True)
    canvas.text(axis, bottom + 24, human_shape(specimen.output), SMALL)
