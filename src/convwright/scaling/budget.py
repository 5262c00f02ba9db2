"""A budget: upper limits on what a network may take, written as "macs<=50M, params<=1M, memory<=40MB, latency<=3ms"."""

import difflib
import re
from dataclasses import dataclass

from convwright.arch import Cost
from convwright.arch.units import human, human_bytes
from convwright.errors import UsageError

_COUNTS = {"": 1.0, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
_BYTES = {"B": 1.0, "KB": 1e3, "MB": 1e6, "GB": 1e9, "KIB": 2.0**10, "MIB": 2.0**20, "GIB": 2.0**30}
_SECONDS = {"US": 1e-6, "MS": 1e-3, "S": 1.0}
_UNITS = {"macs": _COUNTS, "params": _COUNTS, "activations": _COUNTS, "memory": _BYTES, "latency": _SECONDS}
_EXAMPLES = {"macs": "50M", "params": "1M", "activations": "5M", "memory": "40MB", "latency": "3ms"}
_OTHER_NAMES = {"flops": "macs", "parameters": "params", "ram": "memory", "time": "latency"}
_LIMIT = re.compile(r"\s*([A-Za-z]+)\s*(<=|<|≤|=)\s*([0-9.]+(?:[eE][+-]?\d+)?)\s*([A-Za-z]*)\s*")
RESOURCES = tuple(_UNITS)
LARGEST = 1e100
"""Largest number in a limit."""
LATENCY = "latency"


@dataclass(frozen=True)
class Budget:
    """Limits by resource. Counts are for one image, memory is in bytes, latency in seconds."""

    limits: dict[str, float]

    @property
    def counted(self) -> dict[str, float]:
        """The limits that need no measurement."""
        return {name: limit for name, limit in self.limits.items() if name != LATENCY}

    @property
    def latency(self) -> float | None:
        """The limit on seconds, if there is one."""
        return self.limits.get(LATENCY)

    def broken_by(self, cost: Cost) -> list[str]:
        """Name the counted resources of which a network takes more than it may."""
        return [name for name, limit in self.counted.items() if used(cost, name) > limit]

    def __str__(self) -> str:
        return ", ".join(f"{name} <= {written(name, limit)}" for name, limit in self.limits.items())


def used(cost: Cost, resource: str) -> float:
    """Return what a network takes of a counted resource; memory is weights and the peak of activations, in bytes."""
    return float(cost.memory_bytes() if resource == "memory" else getattr(cost, resource))


def written(resource: str, amount: float) -> str:
    """Write an amount with its unit."""
    if resource == LATENCY:
        return f"{amount * 1e3:.3g} ms"
    return human_bytes(amount) if resource == "memory" else human(amount)


def parse_budget(text: str) -> Budget:
    """Read a budget. UsageError names the part that is wrong, and what would be right."""
    limits: dict[str, float] = {}
    for part in filter(str.strip, text.split(",")):
        match = _LIMIT.fullmatch(part)
        if match is None:
            raise UsageError(f"budget: {part.strip()!r:.60} is no limit; write one like macs<=50M or latency<=3ms")
        name, _, amount, unit = match.groups()
        resource = _resource(name)
        if resource in limits:
            raise UsageError(f"budget: {resource} is limited twice")
        limits[resource] = _amount(resource, amount, unit, part.strip())
    if not limits:
        raise UsageError("budget: give one limit or more, such as 'macs<=50M, params<=1M'")
    return Budget(limits)


def _resource(name: str) -> str:
    lower = name.lower()
    if lower in _UNITS:
        return lower
    near = [_OTHER_NAMES[lower]] if lower in _OTHER_NAMES else difflib.get_close_matches(lower, _UNITS, n=1)
    guess = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(_UNITS)}"
    raise UsageError(f"budget: unknown resource {name!r}{guess}")


def _amount(resource: str, amount: str, unit: str, part: str) -> float:
    units = _UNITS[resource]
    example = f"{resource}<={_EXAMPLES[resource]}"
    try:
        number = float(amount)
    except ValueError:
        raise UsageError(f"budget: {amount!r} in {part!r} is not a number; write {example}") from None
    if not 0 < number <= LARGEST:
        raise UsageError(f"budget: {part!r:.60} is out of range; a limit is above 0 and at most {LARGEST:g}")
    if unit == "" and units is _COUNTS and number >= 1000:  # the figure in full
        return number
    if unit == "":
        raise UsageError(f"budget: a unit is missing in {part!r}; write {example}")
    if unit.upper() not in units:
        known = ", ".join(filter(None, units))
        raise UsageError(f"budget: {unit!r} in {part!r} is no unit of {resource} ({known.lower()}); write {example}")
    return number * units[unit.upper()]
