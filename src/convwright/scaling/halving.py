"""Successive halving (Jamieson and Talwalkar 2016): many candidates train briefly, the better ones longer.

Which tasks remain is a function of the results so far, so that any number of workers, started and killed at any
time, agree on what is to be done without speaking to each other.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import NamedTuple

from convwright.errors import UsageError

LEAST_KEPT = 1.1
"""A rung that is hardly longer than the one before tells nothing new."""
MOST_CANDIDATES, MOST_EPOCHS, MOST_RUNGS, MOST_SEEDS = 100_000, 1_000_000, 20, 1_000
"""Bounds of a schedule, far above what anybody trains."""


class Task(NamedTuple):
    """One training: a candidate by its number, a seed, and how long."""

    candidate: int
    seed: int
    epochs: float


@dataclass(frozen=True)
class Schedule:
    """The last of `rungs` trains for `epochs`; each before it `keep` times as many candidates for so much less.

    Every candidate of a rung is trained with the same seeds: the same order of images, augmentation and noise.
    """

    candidates: int
    epochs: float = 3.0
    rungs: int = 3
    keep: float = 3.0
    seeds: int = 2

    def __post_init__(self) -> None:
        limits = {
            "candidates": (1, MOST_CANDIDATES),
            "epochs": (0, MOST_EPOCHS),
            "rungs": (1, MOST_RUNGS),
            "keep": (LEAST_KEPT, MOST_CANDIDATES),
            "seeds": (1, MOST_SEEDS),
        }
        for name, (least, most) in limits.items():
            value = getattr(self, name)
            if not (least <= value <= most and value > 0):
                lower = f"{least} or more" if least else "above 0"
                raise UsageError(f"--{name} must be {lower} and at most {most:,}, not {value:g}")

    def length(self, rung: int) -> float:
        """Return the epochs of a rung, from 0."""
        return float(f"{self.epochs / self.keep ** (self.rungs - 1 - rung):.6g}")

    def size(self, rung: int) -> int:
        """Return how many candidates a rung trains; two at least, so that there is something to compare."""
        return min(self.candidates, max(2, round(self.candidates / self.keep**rung)))

    @property
    def total_epochs(self) -> float:
        """Epochs of all trainings together."""
        return sum(self.size(rung) * self.seeds * self.length(rung) for rung in range(self.rungs))

    def survivors(self, rung: int, results: Mapping[Task, float]) -> list[int] | None:
        """Return the candidates of a rung, best first as the rung before found them; None before that has ended."""
        if rung == 0:
            return list(range(self.candidates))
        before = self.survivors(rung - 1, results)
        if before is None:
            return None
        tasks = self._tasks(rung - 1, before)
        if any(task not in results for task in tasks):
            return None
        ranked = sorted(before, key=lambda one: (-self.mean(one, rung - 1, results), one))
        return ranked[: self.size(rung)]

    def mean(self, candidate: int, rung: int, results: Mapping[Task, float]) -> float:
        """Return a candidate's mean result over the seeds of a rung."""
        return mean(results[task] for task in self._tasks(rung, [candidate]))

    def remaining(self, results: Mapping[Task, float]) -> list[Task]:
        """Return what the current rung still has to train; empty when all is done."""
        for rung in range(self.rungs):
            chosen = self.survivors(rung, results)
            if chosen is None:
                return []
            if left := [task for task in self._tasks(rung, chosen) if task not in results]:
                return left
        return []

    def finished(self, results: Mapping[Task, float]) -> bool:
        """Has the last rung ended?"""
        return self.survivors(self.rungs, results) is not None

    def _tasks(self, rung: int, candidates: Iterable[int]) -> Sequence[Task]:
        length = self.length(rung)
        # Seed by seed, so that an early look finds every candidate with as many.
        ordered = list(candidates)
        return [Task(one, seed, length) for seed in range(self.seeds) for one in ordered]
