"""Just enough SVG for `diagram`: shapes with a class each, text that is measured, one style for light and dark.

Nothing has an id and every rule is scoped to the root's class, so that several drawings can share a page.
"""

from collections.abc import Sequence
from html import escape

Point = tuple[float, float]

# What a role looks like on a light page and on a dark one: fill, line.
_PALETTE = {
    "page": ("#ffffff", "#d8dee4", "#0d1117", "#30363d"),
    "card": ("#f6f8fa", "#d8dee4", "#161b22", "#30363d"),
    "plain": ("#e7ebef", "#8c959f", "#2b323b", "#7d8590"),
    "conv": ("#cfe3fb", "#4a86c5", "#163a63", "#5c9ddd"),
    "norm": ("#eceff2", "#a8b0b9", "#2b323b", "#626b75"),
    "act": ("#fdebb8", "#c99a25", "#4d3b0b", "#d0a53a"),
    "pool": ("#d3eed2", "#58a15a", "#17412a", "#5fb37a"),
    "linear": ("#e6dafa", "#8a63c9", "#3a2763", "#a987e6"),
    "join": ("#ffffff", "#57606a", "#0d1117", "#adb5be"),
    "front": ("#dcebfb", "#4a86c5", "#1b3f68", "#5c9ddd"),
    "upper": ("#c3dcf6", "#4a86c5", "#245186", "#5c9ddd"),
    "side": ("#a5c8ee", "#4a86c5", "#12304f", "#5c9ddd"),
    "gauge": ("#4a86c5", "none", "#5c9ddd", "none"),
    "block0": ("#cfe3fb", "#4a86c5", "#163a63", "#5c9ddd"),
    "block1": ("#fddcc4", "#d0793a", "#55301a", "#dd9160"),
    "block2": ("#d3eed2", "#58a15a", "#17412a", "#5fb37a"),
    "block3": ("#f8d5e4", "#c25a8b", "#52233c", "#d87ba8"),
    "block4": ("#e6dafa", "#8a63c9", "#3a2763", "#a987e6"),
}
BLOCK_ROLES = tuple(role for role in _PALETTE if role.startswith("block"))
_INK = {"ink": ("#1f2328", "#e6edf3"), "soft": ("#59636e", "#9aa4af")}
_LINE = ("#57606a", "#adb5be")
_FONT = "system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, 'DejaVu Sans', sans-serif"
_ROOT = "convwright-diagram"


def text_width(text: str, size: float, *, bold: bool = False) -> float:
    """Estimate the width of a text, on the safe side: fonts differ, and DejaVu Sans is among the widest."""
    return len(text) * size * (0.68 if bold else 0.61)


def wrap(text: str, size: float, width: float) -> list[str]:
    """Break a text at spaces into lines of at most a width; what has no spaces is broken anywhere."""
    most = max(4, int(width / text_width("x", size)))
    lines = [""]
    for word in text.split():
        while len(word) > most:
            lines += [word[:most]] if lines[-1] else []
            lines[-1], word = word[:most], word[most:]
            lines.append("")
        if lines[-1] and len(lines[-1]) + 1 + len(word) > most:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


class Canvas:
    """Collects shapes in the order in which they are painted."""

    def __init__(self) -> None:
        self._shapes: list[str] = []

    def box(self, x: float, y: float, width: float, height: float, role: str, radius: float = 5) -> None:
        """A rectangle with round corners, by its upper left corner."""
        size = f'width="{_n(width)}" height="{_n(height)}" rx="{_n(radius)}"'
        self._add(f'<rect class="{role}" x="{_n(x)}" y="{_n(y)}" {size}/>')

    def circle(self, x: float, y: float, radius: float, role: str) -> None:
        """A circle around a point."""
        self._add(f'<circle class="{role}" cx="{_n(x)}" cy="{_n(y)}" r="{_n(radius)}"/>')

    def polygon(self, points: Sequence[Point], role: str) -> None:
        """A closed shape."""
        self._add(f'<path class="{role}" d="{_path(points)}Z"/>')

    def line(self, *points: Point, arrow: bool = False) -> None:
        """A line through points; `arrow` puts a head on its end."""
        self._add(f'<path class="line" d="{_path(points)}"/>')
        if arrow:
            (x0, y0), (x, y) = points[-2:]
            dx, dy = _sign(x - x0), _sign(y - y0)
            back_x, back_y = x - 6 * dx, y - 6 * dy
            wings = ((back_x - 3.2 * dy, back_y - 3.2 * dx), (x, y), (back_x + 3.2 * dy, back_y + 3.2 * dx))
            self._add(f'<path class="head" d="{_path(wings)}Z"/>')

    def text(
        self,
        x: float,
        y: float,
        text: str,
        size: float = 11,
        *,
        ink: str = "ink",
        bold: bool = False,
        anchor: str = "middle",
    ) -> None:
        """One line of text, by the middle (or `anchor`) of its baseline."""
        weight = ' font-weight="600"' if bold else ""
        self._add(
            f'<text class="{ink}" x="{_n(x)}" y="{_n(y)}" font-size="{_n(size)}" text-anchor="{anchor}"{weight}>'
            f"{escape(text)}</text>"
        )

    def document(self, width: float, height: float, title: str, description: str) -> str:
        """Return the whole drawing as a file's text, on a page of its own colour."""
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" class="{_ROOT}" role="img" '
            f'viewBox="0 0 {_n(width)} {_n(height)}" width="{_n(width)}" height="{_n(height)}">'
        )
        page = f'<rect class="page" x="0.5" y="0.5" width="{_n(width - 1)}" height="{_n(height - 1)}" rx="10"/>'
        named = f"<title>{escape(title)}</title>\n<desc>{escape(description)}</desc>"
        return "\n".join([head, named, f"<style>{_style()}</style>", page, *self._shapes, "</svg>", ""])

    def _add(self, shape: str) -> None:
        self._shapes.append(shape)


def _style() -> str:
    light, dark = [f".{_ROOT} text {{ font-family: {_FONT}; }}"], []
    light.append(f".{_ROOT} path {{ stroke-linejoin: round; stroke-width: 1.2; }}")
    for role, (fill, line, dark_fill, dark_line) in _PALETTE.items():
        light.append(f".{_ROOT} .{role} {{ fill: {fill}; stroke: {line}; }}")
        dark.append(f".{_ROOT} .{role} {{ fill: {dark_fill}; stroke: {dark_line}; }}")
    for role, (ink, dark_ink) in _INK.items():
        light.append(f".{_ROOT} .{role} {{ fill: {ink}; }}")
        dark.append(f".{_ROOT} .{role} {{ fill: {dark_ink}; }}")
    light.append(f".{_ROOT} .line {{ fill: none; stroke: {_LINE[0]}; }} .{_ROOT} .head {{ fill: {_LINE[0]}; }}")
    dark.append(f".{_ROOT} .line {{ stroke: {_LINE[1]}; }} .{_ROOT} .head {{ fill: {_LINE[1]}; }}")
    light.append(f".{_ROOT} .frame {{ fill: none; stroke: #c25a8b; stroke-dasharray: 4 3; }}")
    return "\n".join(["", *light, "@media (prefers-color-scheme: dark) {", *dark, "}", ""])


def _path(points: Sequence[Point]) -> str:
    return "M" + "L".join(f"{_n(x)} {_n(y)}" for x, y in points)


def _sign(value: float) -> int:
    return (value > 0) - (value < 0)


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
