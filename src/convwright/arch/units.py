"""How numbers and shapes are written for people; JSON carries them exactly."""

from convwright.arch.shapes import Shape

BEYOND_FLOATS = 1 << 1000
"""Whole numbers from here on are not converted to floats, which end at 2^1024."""


def human(count: float) -> str:
    """Write a count in three digits: 448, 25.6 M, 4.09 G; above the units 1.23e+15."""
    if isinstance(count, int) and count >= BEYOND_FLOATS:
        from decimal import Decimal  # imported by no command but for such numbers

        return f"{Decimal(count):.3g}"
    for unit, size in (("", 1), (" k", 1e3), (" M", 1e6), (" G", 1e9), (" T", 1e12)):
        scaled = count / size
        if scaled < 999.5:
            if not unit:
                return f"{count:.0f}"
            return f"{scaled:.{2 if scaled < 9.995 else 1 if scaled < 99.95 else 0}f}{unit}"
    return f"{count:.3g}"


def human_bytes(count: float) -> str:
    """Write a number of bytes in three digits: 12.8 MB (a megabyte is a million bytes)."""
    written = human(count)
    return f"{written}B" if " " in written else f"{written} B"


def human_shape(shape: Shape) -> str:
    """Write a shape as the papers do, height and width first: 56 × 56 × 256."""
    channels, height, width = shape
    return f"{height} × {width} × {channels}"


def share(part: float, whole: float) -> str:
    """Write a part of a whole in percent; a whole of nothing has shares of nothing."""
    return f"{100 * part / whole:.1f} %" if whole else "0.0 %"
