"""Resolutions: the side of square images, or height and width of other ones."""

import math
import operator
import re
from collections.abc import Iterable, Sequence

from convwright.arch.node import LARGEST_NUMBER, brief, check_size
from convwright.errors import NetworkError
from convwright.options import Form

Resolution = int | tuple[int, int]
"""The side of square images in pixels, or (height, width)."""


def sides(resolution: Resolution) -> tuple[int, int]:
    """Return height and width in pixels."""
    return resolution if isinstance(resolution, tuple) else (resolution, resolution)


def resolution_of(height: int, width: int) -> Resolution:
    """Return the resolution of images of a height and width: one number where they are square."""
    return height if height == width else (height, width)


def parse_resolution(value: object) -> Resolution:
    """Read a resolution: a number, a text such as "160" or "160x320" (height x width), or a pair of numbers.

    Returns:
        The side, where height and width are equal; else (height, width).

    Raises:
        ValueError: The value is none of these, or a side is below 1 or above `LARGEST_NUMBER`.
    """
    expected = "must be pixels, 1 or more: the side of squares such as 160, or height and width such as 160x320"
    found: Sequence[object] = ()
    if isinstance(value, str):
        matched = re.fullmatch(r"\s*(\d{1,9})(?:\s*[x×]\s*(\d{1,9}))?\s*", value, re.ASCII)
        found = [int(each) for each in matched.groups() if each is not None] if matched else ()
    elif isinstance(value, list | tuple):
        found = value if len(value) == 2 else ()
    else:
        found = (value,)
    numbers = [_whole(each) for each in found]
    pixels = [each for each in numbers if each is not None and 1 <= each <= LARGEST_NUMBER]
    if not pixels or len(pixels) < len(numbers):
        raise ValueError(f"{expected}; not {brief(value)}")
    return resolution_of(pixels[0], pixels[-1])


def check_resolution(name: str, value: object) -> None:
    """Check the resolution of a network: a number, or a pair of two different ones.

    Args:
        name: What the resolution is called in error messages.
        value: The resolution.

    Raises:
        NetworkError: It is none, or a side is out of range.
    """
    if not isinstance(value, tuple):
        check_size(name, value)
        return
    if len(value) != 2:
        raise NetworkError(f"{name} must be one number, or height and width, not {brief(value)}")
    for what, side in zip(("height", "width"), value, strict=True):
        check_size(f"{name}: {what}", side)
    if value[0] == value[1]:
        raise NetworkError(f"{name} of square images is one number, {value[0]}, not {brief(value)}")


def largest(resolutions: Iterable[Resolution]) -> Resolution:
    """Return the resolution with the most pixels, the first of equals."""
    return max(resolutions, key=lambda each: math.prod(sides(each)))


def format_resolution(resolution: Resolution) -> str:
    """Return a resolution as options and expressions have it: "160", or "160x320"."""
    height, width = sides(resolution)
    return str(height) if height == width else f"{height}x{width}"


def format_sides(resolution: Resolution, times: str = "x") -> str:
    """Return height and width in words: "160 x 160"."""
    height, width = sides(resolution)
    return f"{height} {times} {width}"


def side_ratio(resolution: Resolution, base: Resolution) -> float:
    """Return by how much images are larger than others: the geometric mean of the ratios of their sides."""
    (height, width), (base_height, base_width) = sides(resolution), sides(base)
    if height * base_width == width * base_height:
        return height / base_height
    return math.sqrt(height / base_height * (width / base_width))


def _whole(value: object) -> int | None:
    """Return a whole number as int, NumPy's numbers too; None for anything else."""
    if isinstance(value, bool):
        return None
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        return None


SIZE = Form("PIXELS|HEIGHTxWIDTH", parse_resolution)
"""Description of options that take a resolution, as metadata of `typing.Annotated`."""
