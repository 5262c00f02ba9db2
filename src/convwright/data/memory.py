"""Whether decoded images fit into memory, said before the decoding and not by a killed process."""

import math
from pathlib import Path

from convwright.errors import DataError

USABLE = 0.6  # of the free memory: the network, its activations and its gradients want theirs


def check_fits(images: int, channels: int, resolution: int, free: int | None = None) -> None:
    """Raise a DataError naming a resolution that fits if uint8 images of this size do not."""
    free = available_memory() if free is None else free
    if free is None:
        return
    needed, usable = images * channels * resolution**2, USABLE * free
    if needed <= usable:
        return
    fitting = math.isqrt(int(usable / (images * channels)))
    fitting -= fitting % 8 if fitting > 8 else 0
    advice = f"resolution {fitting} would fit" if fitting else "no resolution would fit"
    raise DataError(
        f"{images:,} images of {resolution} x {resolution} pixels take {_size(needed)} of memory, "
        f"and {_size(usable)} may be used: {advice}"
    )


def available_memory() -> int | None:
    """Return the bytes that can be had without swapping, or None where the system does not tell."""
    found = [amount for amount in (_of_machine(), _of_container(), _of_process()) if amount is not None]
    return min(found, default=None)


def _of_machine() -> int | None:
    amounts = _table(Path("/proc/meminfo"))
    return amounts["MemAvailable:"] * 1024 if "MemAvailable:" in amounts else None


def _of_container(group: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Return what a container's limit leaves; file caches give way, so they count as free."""
    try:
        limit = int((group / "memory.max").read_text())
        used = int((group / "memory.current").read_text())
    except (OSError, ValueError):  # no such limit, or "max"
        return None
    amounts = _table(group / "memory.stat")
    return limit - used + amounts.get("active_file", 0) + amounts.get("inactive_file", 0)


def _of_process() -> int | None:
    """Return what the limits of this process (``ulimit -d`` and ``-v``) leave."""
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
