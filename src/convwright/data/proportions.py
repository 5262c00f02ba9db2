"""What a centre crop removes from the images of a survey, and the proportions at which it removes less."""

from collections.abc import Iterator
from statistics import fmean, median_low
from typing import TYPE_CHECKING

from convwright.arch.resolution import Resolution, format_resolution

if TYPE_CHECKING:
    from convwright.data.survey import Survey

MUCH = 0.2
"""Share of the image area, on average, from which on the removal by a centre crop is a problem."""
STEP = 8
"""Sides of a suggested resolution of two sides are multiples of this many pixels."""


def removed_by_crop(survey: "Survey", aspect: float = 1.0) -> float:
    """Return the share of the area that a centre crop removes from training images, on average; 0 without images.

    Args:
        survey: The survey.
        aspect: Width over height of the crop.
    """
    ratios = [ratio / aspect for ratio in _aspects(survey)]
    return fmean(1 - min(ratio, 1 / ratio) for ratio in ratios) if ratios else 0.0


def usual_resolution(survey: "Survey", short_side: int) -> Resolution:
    """Return the resolution with the median proportions of the training images.

    Args:
        survey: The survey, with images.
        short_side: Its shorter side in pixels.
    """
    aspect = median_low(_aspects(survey))
    long_side = max(short_side, round(short_side * max(aspect, 1 / aspect) / STEP) * STEP)
    if long_side == short_side:
        return short_side
    return (short_side, long_side) if aspect > 1 else (long_side, short_side)


def crop_problem(survey: "Survey") -> Iterator[str]:
    """Yield a sentence if a centre crop would remove much of the images, with what to do instead."""
    share = removed_by_crop(survey)
    side = survey.usual_side
    if share <= MUCH or survey.resize != "crop" or not side or not survey.formats:  # arrays keep their size
        return
    found = usual_resolution(survey, side)
    left = removed_by_crop(survey, found[1] / found[0]) if isinstance(found, tuple) else share
    pad = "`resize='pad'` keeps all of it, between grey borders"
    other = "`resize='squash'` too, in other proportions"
    if left <= MUCH:
        other = f"`resolution={format_resolution(found)!r}`, the usual proportions, removes {left:.0%}"
    yield f"the centre crop to a square removes {share:.0%} of the image area on average; {pad}, and {other}"


def _aspects(survey: "Survey") -> list[float]:
    return [image.facts.width / image.facts.height for image in survey.of("train")]
