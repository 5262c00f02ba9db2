"""Findings of a survey: problems of the data, and options to train with."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from statistics import median_low
from typing import TYPE_CHECKING

from convwright.data.proportions import crop_problem

if TYPE_CHECKING:
    from convwright.data.survey import Survey, SurveyedImage

LARGEST = 224
"""Largest side in pixels at which images are considered."""
UNBALANCED = 3.0
"""Ratio of the largest class to the smallest one from which classes count as unbalanced."""
FEW = 20
"""A class with fewer training images than this is a problem."""
NAMED = 3
"""Most names in a sentence."""

Group = tuple["SurveyedImage", ...]


@dataclass(frozen=True)
class Problem:
    """A property of the data that may spoil training or evaluation."""

    kind: str
    """`leakage`, `contradiction`, `copies`, `unreadable`, `absent`, `single`, `few`, `imbalance`, `cropped` or
    `frames`."""
    text: str
    details: tuple[str, ...] = ()
    """One line for each file or group of files."""


@dataclass(frozen=True)
class Spread:
    """Smallest, median and largest value of a measure."""

    least: float
    median: float
    most: float

    @classmethod
    def of(cls, values: Iterable[float]) -> "Spread":
        """Return the spread of one or more values."""
        ordered = sorted(values)
        return cls(ordered[0], median_low(ordered), ordered[-1])


def duplicates(survey: "Survey") -> list[Group]:
    """Return the groups of images with the same content, in the order of their first image."""
    groups: dict[bytes, list[SurveyedImage]] = {}
    for image in survey.images:
        groups.setdefault(image.digest, []).append(image)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def usual_side(survey: "Survey") -> int | None:
    """Return the median short side of the training images, at most 224."""
    sides = [min(image.facts.width, image.facts.height) for image in survey.of("train")]
    return min(median_low(sides), LARGEST) if sides else None


def problems(survey: "Survey") -> tuple[Problem, ...]:
    """Return the problems of the data, the worst first."""
    cropped = (Problem("cropped", text) for text in crop_problem(survey))
    return (*_repeated(survey), *_unreadable(survey), *_counts(survey), *cropped, *_animations(survey))


def imbalance(survey: "Survey") -> float | None:
    """Return the ratio of the largest class to the smallest one, by training images; None without images."""
    counts = [count for count in survey.counts["train"] if count]
    return max(counts) / min(counts) if counts else None


def measures(survey: "Survey") -> dict[str, Spread]:
    """Return the spread of width, height and aspect (width over height); empty without images."""
    measure: dict[str, Callable[[SurveyedImage], float]] = {
        "width": lambda image: image.facts.width,
        "height": lambda image: image.facts.height,
        "aspect": lambda image: image.facts.width / image.facts.height,
    }
    return {name: Spread.of(map(of, survey.images)) for name, of in measure.items()} if survey.images else {}


def _repeated(survey: "Survey") -> Iterator[Problem]:
    crossing, contrary, copies = [], [], []
    for group in duplicates(survey):
        crosses, differs = len({image.split for image in group}) > 1, len({image.labels for image in group}) > 1
        if crosses:
            crossing.append(group)
        if differs:
            contrary.append(group)
        if not (crosses or differs):
            copies.append(group)
    if crossing:
        text = "{} in more than one split, so that the network is tested on images that it was trained on"
        yield _of_groups("leakage", text, crossing)
    if contrary:
        several = any(len(image.labels) != 1 for image in survey.images)
        text = "{} found again with other labels" if several else "{} in more than one class"
        yield _of_groups("contradiction", f"{text}, so that one of the labels is wrong", contrary)
    if copies:
        held_out = "" if "val" in survey.splits else "; training holds out all copies of an image or none"
        yield _of_groups("copies", "{} more than once in a class of a split" + held_out, copies)


def _of_groups(kind: str, text: str, groups: list[Group]) -> Problem:
    subject = "1 image is" if len(groups) == 1 else f"{len(groups):,} images are"
    return Problem(kind, text.format(subject), tuple(" = ".join(image.name for image in group) for group in groups))


def _unreadable(survey: "Survey") -> Iterator[Problem]:
    bad = survey.unreadable
    if not bad:
        return
    total = len(bad) + len(survey.images)
    subject = "1 file or folder" if len(bad) == 1 else f"{len(bad):,} files or folders"
    files, limit = survey.unreadable_files, f"{survey.max_bad:.4g}"
    image_files = files + len(survey.images)
    if files > survey.max_bad * image_files:
        consequence = (
            f"training is refused, since {files:,} of the {image_files:,} image files exceed the share that max_bad "
            f"allows ({limit}); repair or remove the files, or raise max_bad"
        )
    else:
        consequence = f"training skips them, since max_bad allows a share of {limit} of the image files"
    yield Problem("unreadable", f"{subject} of {total:,} cannot be read; {consequence}", bad)


def _counts(survey: "Survey") -> Iterator[Problem]:
    for split in survey.splits:
        absent = [name for name, count in zip(survey.classes, survey.counts[split], strict=True) if not count]
        if absent:
            consequence = "training is refused" if split == "train" else "their accuracy cannot be measured there"
            yield Problem(
                "absent", f"{split} has no images of {_first_of(absent)}; {consequence}", _all_if_many(absent)
            )
    train = dict(zip(survey.classes, survey.counts["train"], strict=True))
    single = [name for name, count in train.items() if count == 1 and "val" not in survey.splits]
    if single:
        subject = "1 class has" if len(single) == 1 else f"{len(single):,} classes have"
        text = (
            f"{subject} only 1 image ({_first_of(single)}), which cannot be split into training and validation images; "
            "training is refused: add images, or remove the class"
        )
        yield Problem("single", text, _all_if_many(single))
    fewest = 1 if single else 0
    few = [f"{name}: {count:,}" for name, count in train.items() if fewest < count < FEW]
    if few:
        subject = "1 class has" if len(few) == 1 else f"{len(few):,} classes have"
        yield Problem("few", f"{subject} fewer than {FEW} training images ({_first_of(few)})", _all_if_many(few))
    ratio = imbalance(survey)
    if ratio is not None and ratio >= UNBALANCED:
        present = [name for name, count in train.items() if count]
        most, least = (extreme(present, key=train.__getitem__) for extreme in (max, min))
        yield Problem("imbalance", f"the largest class, {most}, has {ratio:.1f} times the training images of {least}")


def _animations(survey: "Survey") -> Iterator[Problem]:
    moving = [f"{image.name}: {image.facts.frames} frames" for image in survey.images if image.facts.frames > 1]
    if moving:
        subject = "1 file has" if len(moving) == 1 else f"{len(moving):,} files have"
        yield Problem("frames", f"{subject} more than one frame or page, of which the first is used", tuple(moving))


def _first_of(names: list[str]) -> str:
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED:,} more" if len(names) > NAMED else "")


def _all_if_many(names: list[str]) -> tuple[str, ...]:
    """Return all names where the sentence leaves some out."""
    return tuple(names) if len(names) > NAMED else ()
