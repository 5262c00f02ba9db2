"""What a few seeds can tell: intervals of means, and of differences between candidates that share their seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import mean, stdev

LEVEL = 0.95


@dataclass(frozen=True)
class Mean:
    """A mean over seeds, with its 95 % interval; from one seed alone there is none."""

    value: float
    half: float | None
    count: int


def of_seeds(values: Sequence[float]) -> Mean:
    """Return the mean of some results with Student's interval."""
    count = len(values)
    if count < 2:
        return Mean(mean(values), None, count)
    return Mean(mean(values), quantile(count - 1) * stdev(values) / sqrt(count), count)


def difference(first: Mapping[int, float], second: Mapping[int, float]) -> Mean:
    """Return the mean difference between two candidates over the seeds that both have (results by seed).

    Seeds fix order, augmentation and initial weights, so that what they do to both cancels out.
    """
    shared = sorted(first.keys() & second.keys())
    return of_seeds([first[seed] - second[seed] for seed in shared])


def indistinguishable(results: Mapping[int, Mapping[int, float]]) -> list[int]:
    """Return the candidates that the best one (by its mean) cannot be told apart from, the best included.

    results: by candidate, then by seed. The level holds for all comparisons together (Bonferroni).
    """
    ranked = sorted(results, key=lambda one: -mean(results[one].values()))
    best, others = ranked[0], ranked[1:]
    near = [best]
    for other in others:
        shared = sorted(results[best].keys() & results[other].keys())
        gaps = [results[best][seed] - results[other][seed] for seed in shared]
        if len(gaps) < 2:
            near.append(other)
            continue
        half = quantile(len(gaps) - 1, len(others)) * stdev(gaps) / sqrt(len(gaps))
        if mean(gaps) - half <= 0:
            near.append(other)
    return near


def quantile(degrees: int, comparisons: int = 1) -> float:
    """Return Student's two-sided quantile for the level, shared among so many comparisons."""
    from scipy.stats import t

    return float(t.ppf(1 - (1 - LEVEL) / 2 / comparisons, degrees))
