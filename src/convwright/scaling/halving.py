"""Successive halving (Jamieson and Talwalkar 2016): many candidates train briefly, the better ones longer.

Which tasks remain is a function of the results so far. So any number of workers, started and killed at any time,
agree on what remains without communicating.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import NamedTuple

from convwright.errors import ArgumentError

LEAST_KEPT = 1.1
"""Smallest factor from one rung to the next: a rung that is hardly longer than the one before adds no information."""
KEPT = 3.0
"""Factor from one rung to the next by default."""
MOST_CANDIDATES, MOST_EPOCHS, MOST_RUNGS, MOST_SEEDS = 100_000, 1_000_000, 20, 1_000
"""Bounds of a schedule, far above what can be trained."""


class Task(NamedTuple):
    """One training: a candidate by its number, a seed, and the number of epochs."""

    candidate: int
    seed: int
    epochs: float


@dataclass(frozen=True)
class Schedule:
    """Rounds of successive halving.

    The last of `rungs` rungs trains for `epochs` epochs. Each rung before it trains `keep` times as many candidates,
    each for a `keep`-th of the epochs. All candidates of a rung are trained with the same seeds, and so with the same
    order of images, augmentation and noise.
    """

    candidates: int
    epochs: float = 3.0
    rungs: int = 3
    keep: float = KEPT
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
                raise ArgumentError(name, f"must be {lower} and at most {most:,}, not {value:g}")

    def length(self, rung: int) -> float:
        """Return the epochs of a rung; the first is number 0."""
        return float(f"{self.epochs / self.keep ** (self.rungs - 1 - rung):.6g}")

    def size(self, rung: int) -> int:
        """Return how many candidates a rung trains: two or more, so that there is a comparison."""
        return min(self.candidates, max(2, round(self.candidates / self.keep**rung)))

    @property
    def total_epochs(self) -> float:
        """Epochs of all training runs together."""
        return sum(self.size(rung) * self.seeds * self.length(rung) for rung in range(self.rungs))

    def survivors(self, rung: int, results: Mapping[Task, float]) -> list[int] | None:
        """Return the candidates of a rung, the best of the rung before first; None until that rung has ended."""
        if rung == 0:
            return list(range(self.candidates))
        before = self.survivors(rung - 1, results)
        if before is None:
            return None
        tasks = self._tasks(rung - 1, before)
        if any(task not in results for task in tasks):
            return None
        ranked = sorted(before, key=lambda each: (-self.mean(each, rung - 1, results), each))
        return ranked[: self.size(rung)]

    def mean(self, candidate: int, rung: int, results: Mapping[Task, float]) -> float:
        """Return a candidate's mean result over the seeds of a rung."""
        return mean(results[task] for task in self._tasks(rung, [candidate]))

    def remaining(self, results: Mapping[Task, float]) -> list[Task]:
        """Return the tasks of the current rung that have no result; none when the schedule has ended."""
        for rung in range(self.rungs):
            chosen = self.survivors(rung, results)
            if chosen is None:
                return []
            if left := [task for task in self._tasks(rung, chosen) if task not in results]:
                return left
        return []

    def finished(self, results: Mapping[Task, float]) -> bool:
        """Return whether the last rung has ended."""
        return self.survivors(self.rungs, results) is not None

    def _tasks(self, rung: int, candidates: Iterable[int]) -> Sequence[Task]:
        length = self.length(rung)
        # Seed by seed, so that all candidates have about equally many results at any time.
        ordered = list(candidates)
        return [Task(each, seed, length) for seed in range(self.seeds) for each in ordered]
