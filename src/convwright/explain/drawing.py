"""Class activation maps as pictures: over the image, and several networks side by side."""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image, ImageDraw, ImageFont

PAPER, INK, MUTED, RULE = "#ffffff", "#1d2129", "#667080", "#d5d9e0"
TILE = 224
"""Longer side of an image in the figure, and of a small one's overlay, in pixels."""
PIXELATED = 64
"""Images up to this side are enlarged as squares, so that their pixels can be seen."""
LEAST, MOST = 0.1, 0.72
"""Opacity of the colour over the image where a map is 0 and where it is 1."""
GREYED = 0.6
"""Share of an image's own colour that is removed below a map, so that the colours of the map stand out."""
GAP, MARGIN, LINE, TEXT, SMALL = 12, 24, 21, 15, 13
FONTS = ("DejaVuSans.ttf", "Arial.ttf", "Helvetica.ttc")
"""For letters that Pillow's own font lacks."""


@dataclass(frozen=True)
class Cell:
    """An image with a map over it, and the lines of text below it."""

    picture: Image.Image
    label: str
    note: str = ""


def picture(pixels: np.ndarray, side: int | None = None) -> Image.Image:
    """Return C x H x W uint8 pixels as an RGB image, enlarged until its longer side has so many pixels."""
    image = Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)).convert("RGB")
    if side is None or side == max(image.size):
        return image
    method = Image.Resampling.NEAREST if max(image.size) <= PIXELATED else Image.Resampling.BICUBIC
    return image.resize(_scaled(image.size, side), method)


def overlay(pixels: np.ndarray, relevance: np.ndarray, side: int | None = None) -> Image.Image:
    """Lay a map (H x W, 0 to 1) over C x H x W uint8 pixels.

    Args:
        pixels: The image.
        relevance: The map.
        side: Longer side of the result; None: that of the image, but small images are enlarged.
    """
    side = side or max(TILE, *pixels.shape[-2:])
    base = picture(pixels, side)
    base = Image.blend(base, base.convert("L").convert("RGB"), GREYED)
    smooth = Image.fromarray(relevance.astype(np.float32)).resize(base.size, Image.Resampling.BILINEAR)
    share = np.clip(np.asarray(smooth), 0, 1)
    cover = (LEAST + (MOST - LEAST) * share)[..., None]
    return Image.fromarray((np.asarray(base) * (1 - cover) + coloured(share) * cover).round().astype(np.uint8))


def _scaled(size: tuple[int, int], longer: int) -> tuple[int, int]:
    """Return a width and height in the same proportions, with another longer side."""
    width, height = (max(1, round(side * longer / max(size))) for side in size)
    return width, height


def coloured(values: np.ndarray) -> np.ndarray:
    """Return the colours (... x 3, 0 to 255) of values from 0 to 1, on the perceptually uniform scale inferno."""
    from plotly.colors import hex_to_rgb, sequential

    anchors = np.array([hex_to_rgb(anchor) for anchor in sequential.Inferno], dtype=np.float64)
    places = np.linspace(0, 1, len(anchors))
    return np.stack([np.interp(values, places, anchors[:, channel]) for channel in range(3)], axis=-1)


def figure(
    titles: Sequence[str], images: Sequence[Cell], columns: Sequence[Sequence[Cell]], caption: str, tile: int = TILE
) -> Image.Image:
    """Draw a grid: a row for each image, which comes first, and a column for each network below its title."""
    heads = [_wrapped(title, tile, TEXT) for title in ("image", *titles)]
    top = MARGIN + LINE * max(map(len, heads)) + GAP // 2
    every = [images, *columns]
    lines = [1 + any(column[row].note for column in every) for row in range(len(images))]
    heights = [tile + LINE * count + GAP for count in lines]
    width = 2 * MARGIN + len(every) * tile + (len(every) - 1) * GAP
    below = _wrapped(caption, width - 2 * MARGIN, SMALL)
    scale_top = top + sum(heights) + GAP
    sheet = Image.new("RGB", (width, scale_top + 2 * LINE + LINE * len(below) + MARGIN), PAPER)
    draw = ImageDraw.Draw(sheet)
    for index, (head, column) in enumerate(zip(heads, every, strict=True)):
        left = MARGIN + index * (tile + GAP)
        for number, line in enumerate(head):
            _write(draw, left, top - GAP // 2 - LINE * (len(head) - number), line, TEXT, INK if index else MUTED)
        for row, cell in enumerate(column):
            y = top + sum(heights[:row])
            wide, high = _scaled(cell.picture.size, tile)
            x, above = left + (tile - wide) // 2, y + (tile - high) // 2
            sheet.paste(cell.picture.resize((wide, high), Image.Resampling.LANCZOS), (x, above))
            draw.rectangle((x, above, x + wide - 1, above + high - 1), outline=RULE)
            _write(draw, left, y + tile + 3, _cut(cell.label, tile, TEXT), TEXT, INK if index else MUTED)
            _write(draw, left, y + tile + 3 + LINE, _cut(cell.note, tile, SMALL), SMALL, MUTED)
    _scale(sheet, draw, scale_top)
    for number, line in enumerate(below):
        _write(draw, MARGIN, scale_top + LINE + GAP + LINE * number, line, SMALL, MUTED)
    return sheet


def png(image: Image.Image) -> bytes:
    """Return an image as the content of a PNG file."""
    content = BytesIO()
    image.save(content, "PNG", optimize=True)
    return content.getvalue()


def _scale(sheet: Image.Image, draw: ImageDraw.ImageDraw, top: int, wide: int = 160, high: int = 12) -> None:
    """Draw the scale of colours."""
    colours = coloured(np.broadcast_to(np.linspace(0, 1, wide), (high, wide))).round().astype(np.uint8)
    left = MARGIN + int(_font("", SMALL).getlength("least relevant")) + GAP // 2
    sheet.paste(Image.fromarray(colours), (left, top + 3))
    _write(draw, MARGIN, top, "least relevant", SMALL, MUTED)
    _write(draw, left + wide + GAP // 2, top, "most relevant", SMALL, MUTED)


def _write(draw: ImageDraw.ImageDraw, left: int, top: int, text: str, size: int, colour: str) -> None:
    draw.text((left, top), text, fill=colour, font=_font(text, size))


def _font(text: str, size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return Pillow's own font, or one of the system's where the text has letters that it may lack."""
    if not text.isascii():
        for name in FONTS:
            try:
                return ImageFont.truetype(name, size)
            except OSError:
                continue
    return ImageFont.load_default(size)


def _cut(text: str, width: int, size: int) -> str:
    """Shorten a text to a width in pixels."""
    font = _font(text, size)
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text + "..."


def _wrapped(text: str, width: int, size: int) -> list[str]:
    """Break a text into lines of a width in pixels: at spaces, before an operator's bar, within words that must."""
    font, lines = _font(text, size), [""]
    for word in text.replace("|", " |").split(" "):
        space = "" if not lines[-1] or word.startswith("|") else " "
        if lines[-1] and font.getlength(lines[-1] + space + word) > width:
            lines.append("")
            space = ""
        lines[-1] += space + word
    return [_cut(line, width, size) for line in lines]
