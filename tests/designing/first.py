"""Candidates that a design starts with."""

from collections.abc import Iterator

from convwright.arch.resolution import Resolution
from convwright.designing.candidates import Candidate, LeftOut, scale_family
from convwright.designing.families import FAMILIES, CandidateLimits


def first_candidates(
    resolution: Resolution, channels: int, classes: int, limits: CandidateLimits
) -> Iterator[Candidate | LeftOut]:
    """Yield the largest network of each family within the limits, or why there is none."""
    for family in FAMILIES:
        yield scale_family(family, family.base(resolution, channels, classes), limits)
