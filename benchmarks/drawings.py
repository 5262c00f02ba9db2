"""The drawings of the pages about folding and kernels.

python benchmarks/drawings.py

Each drawing has two columns of boxes, before and after. `tests/test_drawings.py` checks that the files in `docs/images`
are what this script writes.
"""

from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

FOLDER = Path(__file__).parents[1] / "docs" / "images"
WIDTH, BOX, HEIGHT, GAP, TOP = 560, 232, 50, 24, 46
LEFT, RIGHT = 24, 304
FILLS = {
    "conv": "#dbe7fb",
    "norm": "#fde9cf",
    "act": "#def3dd",
    "pool": "#f3dcf0",
    "data": "#ffffff",
    "memory": "#eeeeee",
}
ARROW = (
    '<defs><marker id="arrow" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" orient="auto">'
    '<path d="M0 0L10 5L0 10z" fill="#444"/></marker></defs>'
)


@dataclass(frozen=True)
class Box:
    """A box with one or two lines of text, and what kind of thing it is."""

    kind: str
    first: str
    second: str = ""


INPUT, OUTPUT = Box("data", "maps x"), Box("data", "maps y")
CONVOLVED = Box("conv", "convolution", "weights W, bias b")
NORMALISED = Box("norm", "normalisation", "factor a, shift s a channel")
DRAWINGS: dict[str, tuple[str, list[Box], str, list[Box]]] = {
    "folding-previous": (
        "as trained",
        [INPUT, CONVOLVED, NORMALISED, OUTPUT],
        "folded",
        [INPUT, Box("conv", "convolution", "weights a·W, bias a·b + s"), OUTPUT],
    ),
    "folding-next": (
        "as trained",
        [INPUT, NORMALISED, Box("conv", "1x1 convolution", "weights W, bias b"), OUTPUT],
        "folded",
        [INPUT, Box("conv", "1x1 convolution", "weights W·a, bias b + W·s"), OUTPUT],
    ),
    "folding-transition": (
        "as trained",
        [
            Box("data", "maps", "H x W"),
            Box("conv", "1x1 convolution", "at H·W positions"),
            Box("pool", "mean of 2x2 windows"),
            Box("data", "maps", "H/2 x W/2"),
        ],
        "folded",
        [
            Box("data", "maps", "H x W"),
            Box("pool", "mean of 2x2 windows"),
            Box("conv", "1x1 convolution", "at H·W/4 positions"),
            Box("data", "maps", "H/2 x W/2"),
        ],
    ),
    "folding-squeeze": (
        "the squeeze, as trained",
        [
            Box("data", "maps", "C channels"),
            Box("conv", "1x1 convolution", "4C channels: V, c"),
            Box("pool", "mean of each map", "4C numbers"),
            Box("conv", "squeeze", "weights W, bias b"),
        ],
        "folded",
        [
            Box("data", "maps", "C channels"),
            Box("pool", "mean of each map", "C numbers"),
            Box("conv", "squeeze", "weights W·V, bias b + W·c"),
        ],
    ),
    "folding-clamp": (
        "as trained",
        [
            INPUT,
            NORMALISED,
            Box("act", "ReLU"),
            Box("conv", "1x1 convolution", "weights W, bias b"),
            OUTPUT,
        ],
        "clamped",
        [
            INPUT,
            Box("act", "bound of each channel", "max or min with -s/a"),
            Box("conv", "1x1 convolution", "weights W·a, bias b + W·s"),
            OUTPUT,
        ],
    ),
    "kernels-norm": (
        "one operation after another",
        [
            Box("memory", "memory: maps"),
            Box("norm", "statistics", "reads the maps"),
            Box("norm", "normalise", "reads, writes, keeps"),
            Box("act", "add the shortcut", "reads two, writes"),
            Box("act", "ReLU", "reads, writes, keeps"),
            Box("memory", "memory: result"),
        ],
        "fused",
        [
            Box("memory", "memory: maps"),
            Box("norm", "statistics", "reads the maps"),
            Box("norm", "normalise, add, ReLU", "reads two, writes once"),
            Box("memory", "memory: result"),
        ],
    ),
    "kernels-dense": (
        "layer l of a dense block",
        [
            Box("memory", "maps of layers 1 to l - 1", "concatenated: a copy"),
            Box("norm", "statistics, normalise, ReLU", "of all maps, for each layer"),
            Box("memory", "kept for the backward pass", "l times the growth rate"),
            Box("conv", "1x1 convolution"),
            Box("data", "new maps", "growth rate"),
        ],
        "memory-efficient",
        [
            Box("memory", "one tensor for the block", "new maps are written at its end"),
            Box("norm", "statistics of new maps only", "the same for all readers"),
            Box("conv", "1x1 convolution", "normalises while it reads"),
            Box("data", "new maps", "growth rate"),
        ],
    ),
    "kernels-winograd": (
        "by the definition",
        [
            Box("data", "6x6 inputs"),
            Box("conv", "3x3 filter at 16 places", "16 x 9 = 144 multiplications"),
            Box("data", "4x4 outputs"),
        ],
        "Winograd F(4x4, 3x3)",
        [
            Box("data", "6x6 inputs"),
            Box("norm", "transform", "additions and constants"),
            Box("conv", "36 products", "with the transformed filter"),
            Box("norm", "transform back", "additions and constants"),
            Box("data", "4x4 outputs"),
        ],
    ),
}
"""Title and boxes of the left and of the right column, by file."""


def column(left: int, title: str, boxes: list[Box], space: float) -> list[str]:
    """Return a column of boxes, from top to bottom, joined by arrows.

    Args:
        left: Where it begins.
        title: Text above it.
        boxes: The boxes.
        space: Space between two boxes.
    """
    middle = left + BOX / 2
    parts = [f'<text x="{middle:g}" y="28" text-anchor="middle" font-weight="bold">{escape(title)}</text>']
    for number, box in enumerate(boxes):
        top = TOP + number * (HEIGHT + space)
        parts.append(
            f'<rect x="{left}" y="{top:g}" width="{BOX}" height="{HEIGHT}" rx="6" stroke="#444" '
            f'fill="{FILLS[box.kind]}"/>'
        )
        lines = [line for line in (box.first, box.second) if line]
        for line, text in enumerate(lines):
            y = top + HEIGHT / 2 + 5 + (line - (len(lines) - 1) / 2) * 19
            size = 15 if line == 0 else 13
            parts.append(
                f'<text x="{middle:g}" y="{y:g}" text-anchor="middle" font-size="{size}">{escape(text)}</text>'
            )
        if number:
            parts.append(
                f'<path d="M{middle:g} {top - space:g}V{top - 1:g}" stroke="#444" fill="none" '
                'marker-end="url(#arrow)"/>'
            )
    return parts


def drawing(name: str) -> str:
    """Return a drawing as SVG."""
    before, first, after, second = DRAWINGS[name]
    longest = max(len(first), len(second))
    height = TOP + longest * HEIGHT + (longest - 1) * GAP + 20
    span = longest * HEIGHT + (longest - 1) * GAP
    parts = []
    for left, title, boxes in ((LEFT, before, first), (RIGHT, after, second)):
        parts += column(left, title, boxes, (span - len(boxes) * HEIGHT) / (len(boxes) - 1))
    size = f'viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="15"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size}>'
    ground = '<rect width="100%" height="100%" fill="white"/>'
    return "\n".join([head, ARROW, ground, *parts, "</svg>"]) + "\n"


def main() -> None:
    """Write all drawings."""
    for name in DRAWINGS:
        (FOLDER / f"{name}.svg").write_text(drawing(name), encoding="utf-8")


if __name__ == "__main__":
    main()
