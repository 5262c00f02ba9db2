"""What a design is asked for, and the files that it may not replace."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convwright.data.opened import Data
from convwright.errors import ArgumentError
from convwright.scaling.budget import LATENCY, LATENCY_MS, Budget, as_budget

SHORTEST = 30.0
"""Seconds of the shortest design."""


@dataclass(frozen=True)
class DesignRequest:
    """Data, budget and time of a design."""

    data: Data
    budget: Budget | None
    seconds: float
    out: Path
    seed: int = 0
    engine: str = "torch"
    """Engine that will serve the network, in which latency is measured."""

    def __post_init__(self) -> None:
        if self.seconds < SHORTEST:
            raise ArgumentError("minutes", f"must be {SHORTEST / 60:g} or more, not {self.seconds / 60:g}")

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready object from which `from_dict` makes an equal request."""
        limits = dict(self.budget.limits) if self.budget else {}
        if LATENCY in limits:
            limits[LATENCY_MS] = 1000 * limits.pop(LATENCY)
        options = self.data.options()
        if isinstance(self.data.resolution, tuple):
            options["resolution"] = list(self.data.resolution)  # as JSON gives it back
        return {
            "data": self.data.spec,
            "data_options": options,
            "budget": limits or None,
            "seconds": self.seconds,
            "seed": self.seed,
            "engine": self.engine,
        }

    @classmethod
    def from_dict(cls, stored: dict[str, Any], out: Path) -> "DesignRequest":
        """Return a request from what `to_dict` returned."""
        options = dict(stored["data_options"])
        if isinstance(options.get("resolution"), list):
            options["resolution"] = tuple(options["resolution"])
        if "split_seed" in options:
            options["seed"] = options.pop("split_seed")
        budget = as_budget(stored["budget"]) if stored["budget"] else None
        data = Data(stored["data"], **options)
        return cls(data, budget, stored["seconds"], out, stored["seed"], stored["engine"])
