"""What a survey means: what is wrong with the data, and what to train it with."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from statistics import median_low
from typing import Any

from convwright.data.survey import Seen, Survey

LARGEST = 224
UNBALANCED = 3.0
"""So many times the images of the smallest class in the largest one are worth a word."""
FEW = 20
"""Training images of a class that are worth a word."""
NAMED = 3
"""How many files a sentence names."""

Group = tuple[Seen, ...]


@dataclass(frozen=True)
class Problem:
    """Something that may spoil a training."""

    kind: str
    text: str
    details: tuple[str, ...] = ()
    """One line for each file or group of files."""


@dataclass(frozen=True)
class Spread:
    """The least, the median and the largest of a measure."""

    least: float
    median: float
    most: float

    @classmethod
    def of(cls, values: Iterable[float]) -> "Spread":
        """Measure the values; there must be some."""
        ordered = sorted(values)
        return cls(ordered[0], median_low(ordered), ordered[-1])


def duplicates(survey: Survey) -> list[Group]:
    """Return the groups of images with the same content, in the order of their first."""
    groups: dict[bytes, list[Seen]] = {}
    for image in survey.images:
        groups.setdefault(image.digest, []).append(image)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def suggested_resolution(survey: Survey) -> int | None:
    """Return the median short side of the training images, at most 224: what `train` takes too."""
    sides = [min(image.facts.width, image.facts.height) for image in survey.of("train")]
    return min(median_low(sides), LARGEST) if sides else None


def problems(survey: Survey) -> list[Problem]:
    """Return what may spoil a training, the worst first."""
    return [*_leaks(survey), *_unreadable(survey), *_counts(survey), *_animations(survey)]


def _leaks(survey: Survey) -> Iterator[Problem]:
    groups = duplicates(survey)
    crossing = [group for group in groups if len({image.split for image in group}) > 1]
    contrary = [group for group in groups if len({image.label for image in group}) > 1]
    copies = [group for group in groups if group not in crossing and group not in contrary]
    if crossing:
        yield _of_groups(
            *("leakage", "{} in more than one split, so that the network is tested on what it was trained on"),
            crossing,
        )
    if contrary:
        yield _of_groups("contradiction", "{} in more than one class, so that one of the labels is wrong", contrary)
    if copies:
        held_out = "" if "val" in survey.splits else "; held out for validation, a copy measures memory"
        yield _of_groups("copies", "{} more than once in a class of a split" + held_out, copies)


def _of_groups(kind: str, text: str, groups: list[Group]) -> Problem:
    subject = "1 image is" if len(groups) == 1 else f"{len(groups):,} images are"
    return Problem(kind, text.format(subject), tuple(" = ".join(image.name for image in group) for group in groups))


def _unreadable(survey: Survey) -> Iterator[Problem]:
    bad = survey.unreadable
    if bad:
        total = len(bad) + len(survey.images)
        subject = "1 file or folder" if len(bad) == 1 else f"{len(bad):,} files or folders"
        yield Problem("unreadable", f"{subject} of {total:,} cannot be read; training skips them", bad)


def _counts(survey: Survey) -> Iterator[Problem]:
    for split in survey.splits:
        absent = [name for name, count in zip(survey.classes, survey.counts[split], strict=True) if not count]
        if absent:
            yield Problem("absent", f"{split} has no images of {_some(absent)}", _beyond(absent))
    train = survey.counts["train"]
    few = [f"{name}: {count:,}" for name, count in zip(survey.classes, train, strict=True) if 0 < count < FEW]
    if few:
        subject = "1 class has" if len(few) == 1 else f"{len(few):,} classes have"
        yield Problem("few", f"{subject} fewer than {FEW} training images ({_some(few)})", _beyond(few))
    ratio = imbalance(survey)
    if ratio is not None and ratio >= UNBALANCED:
        most, least = (survey.classes[train.index(pick(filter(None, train)))] for pick in (max, min))
        yield Problem("imbalance", f"the largest class, {most}, has {ratio:.1f} times the training images of {least}")


def imbalance(survey: Survey) -> float | None:
    """Return how many times the training images of the smallest class the largest one has."""
    counts = [count for count in survey.counts["train"] if count]
    return max(counts) / min(counts) if counts else None


def _animations(survey: Survey) -> Iterator[Problem]:
    moving = [f"{image.name}: {image.facts.frames} frames" for image in survey.images if image.facts.frames > 1]
    if moving:
        subject = "1 file has" if len(moving) == 1 else f"{len(moving):,} files have"
        yield Problem("frames", f"{subject} more than one frame or page, of which the first is taken", tuple(moving))


def _some(names: list[str]) -> str:
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED:,} more" if len(names) > NAMED else "")


def _beyond(names: list[str]) -> tuple[str, ...]:
    """Return all names where the sentence leaves some out."""
    return tuple(names) if len(names) > NAMED else ()


def measures(survey: Survey) -> dict[str, Spread]:
    """Return how wide and high the images are, and their aspect (width over height); empty without images."""
    measure: dict[str, Callable[[Seen], float]] = {
        "width": lambda image: image.facts.width,
        "height": lambda image: image.facts.height,
        "aspect": lambda image: image.facts.width / image.facts.height,
    }
    return {name: Spread.of(map(of, survey.images)) for name, of in measure.items()} if survey.images else {}


def as_json(survey: Survey) -> dict[str, Any]:
    """Return all findings in plain values."""
    ratio = imbalance(survey)
    return {
        "data": survey.name,
        "images": len(survey.images),
        "classes": list(survey.classes),
        "counts": survey.counts,
        "sizes": {name: vars(spread) for name, spread in measures(survey).items()},
        "modes": dict(Counter(image.facts.mode for image in survey.images).most_common()),
        "formats": dict(Counter(image.facts.format for image in survey.images if image.facts.format).most_common()),
        "unreadable": list(survey.unreadable),
        "duplicates": [
            [{"image": image.name, "split": image.split, "class": survey.classes[image.label]} for image in group]
            for group in duplicates(survey)
        ],
        "imbalance": None if ratio is None else round(ratio, 4),
        "problems": [{"kind": problem.kind, "text": problem.text} for problem in problems(survey)],
        "suggested_resolution": suggested_resolution(survey),
    }
