"""Numbers and shapes as text for readers. JSON has them exactly."""

BEYOND_FLOATS = 1 << 1000
"""Whole numbers from this one on are not converted to floats, which end at 2^1024."""


def human(count: float) -> str:
    """Return a count in three digits: 448, 25.6 M, 4.09 G; above the units 1.23e+15."""
    if isinstance(count, int) and count >= BEYOND_FLOATS:
        from decimal import Decimal  # slow to import, and seldom needed

        return f"{Decimal(count):.3g}"
    for unit, size in (("", 1), (" k", 1e3), (" M", 1e6), (" G", 1e9), (" T", 1e12)):
        scaled = count / size
        if scaled < 999.5:
            if not unit:
                return f"{count:.0f}"
            return f"{scaled:.{2 if scaled < 9.995 else 1 if scaled < 99.95 else 0}f}{unit}"
    return f"{count:.3g}"


def human_bytes(count: float) -> str:
    """Return a number of bytes in three digits: 12.8 MB (a megabyte is a million bytes)."""
    written = human(count)
    return f"{written}B" if " " in written else f"{written} B"


def human_shape(shape: tuple[int, int, int]) -> str:
    """Return a shape as the papers print it, height and width first: 56 × 56 × 256."""
    channels, height, width = shape
    return f"{height} × {width} × {channels}"


def share(part: float, whole: float) -> str:
    """Return a part of a whole in percent; 0.0 % if the whole is 0."""
    return f"{100 * part / whole:.1f} %" if whole else "0.0 %"
