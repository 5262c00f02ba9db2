"""Budgets: upper limits on resources, written as "macs<=50M, params<=1M, memory<=40MB, latency<=3ms"."""

import difflib
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from convwright.arch import Cost
from convwright.errors import ArgumentError, UsageError, collected, together
from convwright.units import human, human_bytes

_COUNTS = {"": 1.0, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
_BYTES = {"B": 1.0, "KB": 1e3, "MB": 1e6, "GB": 1e9, "KIB": 2.0**10, "MIB": 2.0**20, "GIB": 2.0**30}
_SECONDS = {"US": 1e-6, "MS": 1e-3, "S": 1.0}
_UNITS = {"macs": _COUNTS, "params": _COUNTS, "activations": _COUNTS, "memory": _BYTES, "latency": _SECONDS}
_SPELLINGS = {"KIB": "KiB", "MIB": "MiB", "GIB": "GiB", "US": "us", "MS": "ms", "S": "s"}
_EXAMPLES = {"macs": "50M", "params": "1M", "activations": "5M", "memory": "40MB", "latency": "3ms"}
_NOUNS = {
    "macs": "MACs",
    "params": "parameters",
    "activations": "activations",
    "memory": "of memory",
    "latency": "per image",
}
_SYNONYMS = {"flops": "macs", "parameters": "params", "ram": "memory", "time": "latency"}
_LIMIT = re.compile(r"\s*([A-Za-z]+)\s*(<=|<|≤|=)\s*(-?[0-9.]+(?:[eE][+-]?\d+)?)\s*([A-Za-z]*)\s*")
_SEPARATED = re.compile(r"(?<![\w.])[\d.]+(?:[,_][\d.]+)+")
"""Numbers with separators, such as 500,000 and 0,5."""
_THOUSANDS = re.compile(r"[1-9]\d{0,2}(?:[,_]\d{3})+")
"""Numbers whose separators can only be those of thousands, or are usually read so."""
LARGEST = 1e100
"""Largest number in a limit."""
LATENCY, LATENCY_MS = "latency", "latency_ms"


@dataclass(frozen=True)
class Budget:
    """Limits by resource: counts for one image, memory in bytes, latency in seconds."""

    limits: dict[str, float]

    @property
    def counted(self) -> dict[str, float]:
        """The limits on resources that are computed, not measured."""
        return {name: limit for name, limit in self.limits.items() if name != LATENCY}

    @property
    def latency(self) -> float | None:
        """The limit on latency in seconds; None without one."""
        return self.limits.get(LATENCY)

    def exceeded_by(self, cost: Cost) -> list[str]:
        """Return the computed resources of which a network uses more than the limit."""
        return [name for name, limit in self.counted.items() if used(cost, name) > limit]

    @property
    def text(self) -> str:
        """The limits as text that `parse_budget` turns into an equal budget; `str` rounds them."""
        return ", ".join(f"{name}<={_exact(name, limit)}" for name, limit in self.limits.items())

    @property
    def allowance(self) -> str:
        """The limits as a sentence lists them: ``20.0 M MACs and 8 ms per image``."""
        return " and ".join(format_need(name, limit) for name, limit in self.limits.items())

    def __str__(self) -> str:
        return ", ".join(f"{name} <= {format_amount(name, limit)}" for name, limit in self.limits.items())


def used(cost: Cost, resource: str) -> float:
    """Return how much of a computed resource a network uses; memory is weights and peak activations, in bytes."""
    return float(cost.memory_bytes() if resource == "memory" else getattr(cost, resource))


def format_amount(resource: str, amount: float) -> str:
    """Return an amount with its unit as text."""
    if resource == LATENCY:
        return f"{amount * 1e3:.3g} ms"
    return human_bytes(amount) if resource == "memory" else human(amount)


def format_need(resource: str, amount: float) -> str:
    """Return an amount with its unit and its resource as text: ``5.23 M MACs``, ``9.1 ms per image``."""
    return f"{format_amount(resource, amount)} {_NOUNS[resource]}"


def _exact(resource: str, limit: float) -> str:
    """Return a limit with its unit as text that has its exact value, in the unit that needs the fewest digits."""
    texts = [
        text + _SPELLINGS.get(unit, unit)
        for unit, factor in _UNITS[resource].items()
        for text in (f"{limit / factor:.12g}", repr(limit / factor))
        if float(text) * factor == limit
    ]
    return min(texts, key=len)


def as_budget(budget: "Budget | Mapping[str, float] | str") -> Budget:
    """Return the budget that a text or a mapping describes.

    Args:
        budget: Text such as `"macs<=50M, latency<=3ms"`, or numbers by resource: `macs`, `params`, `activations`,
            `memory` (bytes) and `latency_ms`.

    Raises:
        ArgumentError: A resource is unknown, or a limit is not a number above 0.
    """
    if isinstance(budget, Budget):
        return budget
    if isinstance(budget, str):
        return parse_budget(budget)
    if not isinstance(budget, Mapping):
        raise ArgumentError("budget", f"must be a text such as 'macs<=50M' or a dictionary, not {budget!r:.60}")
    limits: dict[str, float] = {}
    for name, amount in budget.items():
        if name == LATENCY:
            raise ArgumentError("budget", "write latency_ms in a dictionary: the latency in milliseconds")
        resource, factor = (LATENCY, 1e-3) if name == LATENCY_MS else (_resource(name), 1.0)
        if resource in limits:
            raise ArgumentError("budget", f"{resource} has two limits")
        if isinstance(amount, bool) or not isinstance(amount, int | float) or not 0 < amount <= LARGEST:
            raise ArgumentError("budget", f"{name} must be above 0 and at most {LARGEST:g}, not {amount!r:.60}")
        limits[resource] = amount * factor
    if not limits:
        raise ArgumentError("budget", "must have one limit or more, such as {'macs': 50e6, 'latency_ms': 3}")
    return Budget(limits)


def parse_budget(text: str) -> Budget:
    """Return the budget that a text describes.

    Raises:
        ArgumentError: A part of the text is not a limit; the message names it and shows what would be right.
    """
    limits: dict[str, float] = {}
    wrong: list[UsageError] = []
    for part in filter(str.strip, _SEPARATED.sub(_without_separators, text).split(",")):
        with collected(wrong):
            resource, limit = _parse_limit(part)
            if resource in limits:
                raise ArgumentError("budget", f"{resource} has two limits")
            limits[resource] = limit
    if wrong:
        raise together(wrong)
    if not limits:
        raise ArgumentError("budget", "must have one limit or more, such as 'macs<=50M, params<=1M'")
    return Budget(limits)


def _parse_limit(part: str) -> tuple[str, float]:
    """Return the resource and the largest amount of a part of a budget."""
    match = _LIMIT.fullmatch(part)
    if match is None:
        raise ArgumentError("budget", f"{part.strip()!r:.60} is not a limit; write one such as macs<=50M")
    name, _, amount, unit = match.groups()
    resource = _resource(name)
    return resource, _amount(resource, amount, unit, part.strip())


def _without_separators(found: re.Match[str]) -> str:
    """Return a number without the separators of its thousands.

    Raises:
        ArgumentError: Its separators cannot all be those of thousands; the message has what it may mean.
    """
    text = found[0]
    plain = re.sub("[,_]", "", text)
    if _THOUSANDS.fullmatch(text):
        return plain
    readings = []
    for reading in (text.replace(".", "").replace(",", "."), plain):
        with suppress(ValueError):
            readings.append(f"{float(reading):.12g}")
    meant = " or ".join(dict.fromkeys(readings)) or "another number"
    raise ArgumentError("budget", f"{text!r:.60} is not a clear number; write {meant}")


def _resource(name: object) -> str:
    lower = str(name).lower()
    if lower in _UNITS:
        return lower
    near = [_SYNONYMS[lower]] if lower in _SYNONYMS else difflib.get_close_matches(lower, _UNITS, n=1)
    guess = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(_UNITS)}"
    raise ArgumentError("budget", f"unknown resource {name!r}{guess}")


def _amount(resource: str, amount: str, unit: str, part: str) -> float:
    units = _UNITS[resource]
    example = f"{resource}<={_EXAMPLES[resource]}"
    try:
        number = float(amount)
    except ValueError:
        raise ArgumentError("budget", f"{amount!r} in {part!r} is not a number; write {example}") from None
    if not 0 < number <= LARGEST:
        raise ArgumentError("budget", f"{part!r:.60} is out of range; a limit is above 0 and at most {LARGEST:g}")
    if unit == "" and units is _COUNTS:
        return number
    if unit == "":
        raise ArgumentError("budget", f"a unit is missing in {part!r}; write {example}")
    if unit.upper() not in units:
        known = ", ".join(filter(None, units))
        raise ArgumentError(
            "budget", f"{unit!r} in {part!r} is not a unit of {resource} ({known.lower()}); write {example}"
        )
    return number * units[unit.upper()]
