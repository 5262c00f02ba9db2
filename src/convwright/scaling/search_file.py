"""The coefficients that a search found, read from its folder."""

from dataclasses import dataclass
from pathlib import Path

from convwright import json_text
from convwright.arch.resolution import Resolution, parse_resolution
from convwright.errors import ArgumentError, UsageError
from convwright.scaling.rules import Compound
from convwright.scaling.study_result import SearchResult

RESULT = "search.json"
NAMES = ("alpha", "beta", "gamma")


@dataclass(frozen=True)
class SearchOutcome:
    """What a family takes from a search."""

    base: str
    """Expression of the base network."""
    data: str
    resolution: Resolution
    coefficients: Compound
    """Best alpha, beta and gamma."""

    @classmethod
    def of(cls, search: SearchResult | Path | str) -> "SearchOutcome":
        """Return the outcome of a search, or that of the search in a folder.

        Raises:
            ArgumentError: The folder has no result of a search.
            UsageError: The file is damaged, or its best network diverged.
        """
        if isinstance(search, SearchResult):
            found = search.findings
            return cls(found.base, found.data, found.resolution, search.best)
        return cls.read(Path(search))

    @classmethod
    def read(cls, folder: Path) -> "SearchOutcome":
        """Read the result in a study's folder; see `of`."""
        path = folder / RESULT
        if not path.is_file():
            raise ArgumentError("search", f"{folder} has no {RESULT}, which a search writes at its end")
        found = json_text.read(path)
        try:
            best = found["networks"][0]
            place, diverged = best["place"], best["diverged"] == len(best["accuracies"])
            alpha, beta, gamma = (_number(place[name]) for name in NAMES)
            base, data, resolution = found["base"], found["data"], parse_resolution(found["resolution"])
            if not (isinstance(base, str) and isinstance(data, str)):
                raise TypeError
        except (KeyError, IndexError, TypeError, ValueError):
            raise UsageError(
                f"{path}: not the result of a search: it must have base, data, resolution and networks, and "
                "networks[0] the numbers place.alpha, place.beta and place.gamma, accuracies and diverged"
            ) from None
        if diverged:
            raise UsageError(f"{path}: all training runs of its best network diverged; search at a lower learning rate")
        return cls(base, data, resolution, Compound(alpha, beta, gamma))


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError
    return float(value)
