"""The published EfficientNet rule for widths and depths that scaling made fractional.

Widths are rounded to the nearest multiple of 8, but never below 90 % of the scaled width; depths are rounded up. A
width that is no multiple of 8 before scaling (DenseNet's growth rate 12) is rounded to a multiple of its own power of
two.
"""

import math

from convwright.arch.resolution import Resolution, resolution_of


def width_unit(width: int) -> int:
    """Return the power of two that a width is a multiple of, at most 8: 4 for DenseNet's growth rate 12."""
    return math.gcd(width, 8)


def round_width(width: int, factor: float) -> int:
    """Scale a number of channels (or a growth rate) and round it; a factor of 1 changes nothing."""
    if factor == 1:
        return width
    unit = width_unit(width)
    scaled = width * factor
    rounded = max(unit, int(scaled + unit / 2) // unit * unit)
    return rounded + unit if rounded < 0.9 * scaled else rounded


def round_depth(repeats: int, factor: float) -> int:
    """Scale a number of repetitions and round it up."""
    return repeats if factor == 1 else math.ceil(repeats * factor)


def round_resolution(resolution: Resolution, factor: float) -> Resolution:
    """Scale a resolution and round its sides to the nearest even number of pixels, so that strides divide them."""
    if factor == 1:
        return resolution
    if not isinstance(resolution, tuple):
        return max(2, round(resolution * factor / 2) * 2)
    height, width = (max(2, round(side * factor / 2) * 2) for side in resolution)
    return resolution_of(height, width)
