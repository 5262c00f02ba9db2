"""How images are cropped, resized and scaled to 8 bits. Without torch and Pillow."""

from typing import Literal, NamedTuple

from convwright.brief import brief_repr

DECODER = 2
"""Version of the decoder: pixels that a run of another version was trained on may differ. Runs record theirs."""

Resize = Literal["crop", "pad", "squash"]
Duplicates = Literal["together", "apart"]
ValueRange = tuple[float, float]
FILL = 128
"""Grey value of the border that `pad` adds."""

STANDARD_RANGES: dict[str, tuple[ValueRange, ...]] = {
    "I": ((0.0, 255.0), (0.0, 65535.0)),
    "F": ((0.0, 1.0), (0.0, 255.0), (0.0, 65535.0)),
}
"""Ranges of the values of images with more than 8 bits per channel, by Pillow's mode; the first is that of images of
which nothing else is known."""


class Framing(NamedTuple):
    """How an image becomes a network's input."""

    crop: float = 1.0
    """Share of the sides that is cut from the centre; of the short side where `resize` is `crop`."""
    interpolation: str = "bicubic"
    """Or "bilinear"."""
    resize: Resize = "crop"
    """`crop` fits the short side and cuts the centre, `pad` adds grey borders, `squash` changes the proportions."""
    decoder: int = DECODER
    """Version of the decoder."""
    integer_range: ValueRange | None = None
    """Range of values of 32-bit images in the data set; None: there are none."""
    float_range: ValueRange | None = None
    """Range of values of floating-point images in the data set; None: there are none."""

    def __repr__(self) -> str:
        changed = {name: value for name, value in self._asdict().items() if value != self._field_defaults[name]}
        return brief_repr(type(self).__name__, changed)


def standard_range(mode: str, low: float = 0.0, high: float = 0.0) -> ValueRange:
    """Return the smallest standard range of a Pillow mode that contains values, or else the range of the values."""
    ranges = STANDARD_RANGES[mode]
    return next(((least, most) for least, most in ranges if least <= low and high <= most), (low, high))
