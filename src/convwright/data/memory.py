"""Check whether decoded images fit into memory, before they are decoded."""

import math
from pathlib import Path

from convwright.arch.resolution import Resolution, format_resolution, resolution_of, sides
from convwright.errors import DataTooLargeError, OutOfMemoryError

USABLE = 0.6  # of the free memory: network, activations and gradients need the rest
FLOAT = 4  # bytes of a feature


def check_fits(images: int, channels: int, resolution: Resolution, free: int | None = None) -> None:
    """Check that uint8 images of a size fit into memory.

    Args:
        images: Number of images.
        channels: Channels of each image.
        resolution: Side of each image, or (height, width).
        free: Bytes of free memory; None: measured.

    Raises:
        DataTooLargeError: They do not fit; the message has a resolution that does.
    """
    free = available_memory() if free is None else free
    if free is None:
        return
    height, width = sides(resolution)
    needed, usable = images * channels * height * width, USABLE * free
    if needed <= usable:
        return
    factor = math.sqrt(usable / needed)
    fitting = [int(factor * side) for side in (height, width)]
    fitting = [side - side % 8 if side > 8 else side for side in fitting]
    shown = format_resolution(resolution_of(*fitting))
    advice = f"resolution {shown} would fit" if min(fitting) else "no resolution would fit"
    raise DataTooLargeError(
        f"{images:,} images of {height} x {width} pixels take {_size(needed)} of memory, "
        f"and {_size(usable)} may be used: {advice}"
    )


def check_features_fit(images: int, values: int, free: int | None = None) -> None:
    """Check that features of images fit into memory, as 32-bit floats.

    Args:
        images: Number of images.
        values: Features of each image.
        free: Bytes of free memory; None: measured.

    Raises:
        OutOfMemoryError: They do not fit.
    """
    free = available_memory() if free is None else free
    needed = images * values * FLOAT
    if free is None or needed <= USABLE * free:
        return
    problem = (
        f"the features of {images:,} images, {values:,} for each, take {_size(needed)} of memory, and "
        f"{_size(USABLE * free)} may be used"
    )
    raise OutOfMemoryError(f"{problem}; use fewer images, or train all weights without `freeze`", problem)


def available_memory() -> int | None:
    """Return the bytes that are available without swapping; None where the system does not report them."""
    found = [amount for amount in (_of_machine(), _of_container(), _of_process()) if amount is not None]
    return min(found, default=None)


def _of_machine() -> int | None:
    amounts = _table(Path("/proc/meminfo"))
    return amounts["MemAvailable:"] * 1024 if "MemAvailable:" in amounts else None


def _of_container(group: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Return the bytes below a container's limit; file caches count as free."""
    try:
        limit = int((group / "memory.max").read_text())
        used = int((group / "memory.current").read_text())
    except (OSError, ValueError):  # no such limit, or "max"
        return None
    amounts = _table(group / "memory.stat")
    return limit - used + amounts.get("active_file", 0) + amounts.get("inactive_file", 0)


def _of_process() -> int | None:
    """Return the bytes below the limits of this process (`ulimit -d` and `-v`)."""
    try:
        import resource
    except ImportError:  # not on Windows
        return None
    amounts = _table(Path("/proc/self/status"))
    left = []
    for limit, used in ((resource.RLIMIT_DATA, "VmData:"), (resource.RLIMIT_AS, "VmSize:")):
        most, _ = resource.getrlimit(limit)
        if most != resource.RLIM_INFINITY and used in amounts:
            left.append(max(0, most - 1024 * amounts[used]))
    return min(left, default=None)


def _table(path: Path) -> dict[str, int]:
    try:
        lines = map(str.split, path.read_text().splitlines())
        return {words[0]: int(words[1]) for words in lines if len(words) > 1 and words[1].isdigit()}
    except (OSError, ValueError):
        return {}


def _size(amount: float) -> str:
    return f"{amount / 1e9:.1f} GB" if amount >= 1e9 else f"{amount / 1e6:.1f} MB"
