"""A survey of a data set before training: every file is opened once, counted, measured and compared."""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from convwright.brief import Brief
from convwright.data import findings
from convwright.data.dataset import Parts, Split
from convwright.data.findings import Problem, Spread
from convwright.data.framing import Framing, Resize
from convwright.data.images import (
    Facts,
    Header,
    decode,
    framing_for,
    printable,
    quiet,
    read_facts,
    read_header,
)
from convwright.data.items import LabelledItems, Reference, opened, reason_of_item
from convwright.data.lists import ImageList
from convwright.data.proportions import removed_by_crop
from convwright.data.skipped import UNREADABLE, SkippedFiles
from convwright.data.source_lists import parts_of_list
from convwright.data.sources import MAX_BAD, NO_COLUMNS, SOURCES, check_no_columns, labelled_images
from convwright.data.threads import Progress, in_threads
from convwright.display.result import Block, Heading, Html, Lines, Result, Table
from convwright.display.table import paragraph
from convwright.display.wording import counted

if TYPE_CHECKING:
    from convwright.training.advice import Advice

THUMBNAIL = 96
"""Side of the contact sheet's images, or less where the images are smaller."""
SHOWN_IN_ALL, SHOWN_OF_A_CLASS = 400, 12
"""Most images on the contact sheet."""
MOST_CLASSES, MOST_DETAILS = 40, 5
"""Most classes and most files of a problem that text shows."""
MOST_SKIPPED = 12
"""Most kinds of skipped files that text shows."""
BAR = 24
"""Characters of the bar of the largest class."""


@dataclass(frozen=True)
class SurveyedImage(Brief):
    """One readable image."""

    name: str
    split: str
    labels: tuple[int, ...]
    """Numbers of its classes, ascending; one of them, unless images may have several labels."""
    facts: Facts
    digest: bytes
    """Digest of the file, or of the pixels where there is no file."""
    thumbnail: np.ndarray | None = field(default=None, compare=False, repr=False)
    """Height x width x 3, uint8; None where the contact sheet leaves the image out."""


class _File(NamedTuple):
    """An image file to survey."""

    split: str
    labels: tuple[int, ...]
    number: int
    shown: bool
    """Whether the contact sheet has it."""


class _ClassTable(Table):
    """Counts by class, with bars of characters in text and drawn bars in HTML."""

    def to_html(self) -> str:
        """Return the table as HTML."""
        drawn = '><span style="display:inline-block;height:.7em;width:{}em;background:#0063a6"></span></td></tr>'
        return re.sub("> *(#+)</td></tr>", lambda bar: drawn.format(len(bar[1]) / 2), super().to_html())


@dataclass(frozen=True)
class Survey(Result):
    """Counts, sizes, duplicates and problems of a data set."""

    name: str
    """The folder or source."""
    classes: tuple[str, ...]
    splits: tuple[str, ...]
    images: tuple[SurveyedImage, ...] = field(repr=False)
    unreadable: tuple[str, ...] = field(repr=False)
    """One line for each file or folder that cannot be read, with the reason."""
    unreadable_files: int = 0
    """Image files among these; the others are folders."""
    max_bad: float = 0.1
    """Largest share of the image files that may be unreadable for training."""
    advice: "Advice | None" = None
    """How to train on the images, as `train` does by default; None if it was not computed."""
    resize: Resize = "crop"
    """How images of other proportions are resized for training."""
    skipped: tuple[SkippedFiles, ...] = ()
    """Files that are not used as images, counted by suffix and reason, the largest count first."""
    counts: dict[str, list[int]] = field(init=False)
    """Readable images by split and class."""

    def __post_init__(self) -> None:
        counts = {split: [0] * len(self.classes) for split in self.splits}
        for image in self.images:
            for label in image.labels:
                counts[image.split][label] += 1
        object.__setattr__(self, "counts", counts)

    def of(self, split: str) -> list[SurveyedImage]:
        """Return the images of a split."""
        return [image for image in self.images if image.split == split]

    def class_of(self, image: SurveyedImage) -> str:
        """Return the name of an image's class, or the names of several, joined by `|` as in lists."""
        return "|".join(self.classes[label] for label in image.labels)

    @cached_property
    def problems(self) -> tuple[Problem, ...]:
        """What may spoil training or evaluation, the worst first."""
        return findings.problems(self)

    @cached_property
    def measures(self) -> dict[str, Spread]:
        """Smallest, median and largest width, height and aspect (width over height)."""
        return findings.measures(self)

    @property
    def modes(self) -> dict[str, int]:
        """Images by colour mode, as Pillow names them."""
        return dict(Counter(image.facts.mode for image in self.images).most_common())

    @property
    def formats(self) -> dict[str, int]:
        """Images by file format."""
        return dict(Counter(image.facts.format for image in self.images if image.facts.format).most_common())

    @property
    def usual_side(self) -> int | None:
        """The median short side of the training images, at most 224; None without images."""
        return findings.usual_side(self)

    def thumbnails(self) -> list[list[np.ndarray]]:
        """Return the images on the contact sheet by class: height x width x 3, uint8."""
        found: list[list[np.ndarray]] = [[] for _ in self.classes]
        for image in self.images:
            if image.thumbnail is not None:
                for label in image.labels:
                    found[label].append(image.thumbnail)
        return found

    def to_dict(self) -> dict[str, object]:
        """Return counts, sizes, duplicates, problems and advice."""
        ratio = findings.imbalance(self)
        return {
            "data": self.name,
            "images": len(self.images),
            "classes": list(self.classes),
            "counts": self.counts,
            "sizes": {name: asdict(spread) for name, spread in self.measures.items()},
            "modes": self.modes,
            "formats": self.formats,
            "unreadable": list(self.unreadable),
            "skipped": [asdict(each) for each in self.skipped],
            "removed_by_crop": round(removed_by_crop(self), 4),
            "duplicates": [
                [{"image": image.name, "split": image.split, "class": self.class_of(image)} for image in group]
                for group in findings.duplicates(self)
            ],
            "imbalance": None if ratio is None else round(ratio, 4),
            "problems": [{"kind": problem.kind, "text": problem.text} for problem in self.problems],
            "advice": self.advice and self.advice.to_dict(),
        }

    def blocks(self) -> Iterable[Block]:
        """Yield counts by class, sizes, problems, advice and a contact sheet."""
        sizes = Counter(image.split for image in self.images)
        splits = ", ".join(f"{sizes[split]:,} {split}" for split in self.splits)
        classes = counted(len(self.classes), "class", "classes")
        yield Lines(f"{printable(self.name)}: {counted(len(self.images), 'image')} in {classes} ({splits})")
        yield self._class_table()
        if len(self.classes) > MOST_CLASSES:
            yield Lines(f"and {len(self.classes) - MOST_CLASSES:,} more classes (JSON has all)")
        if self.images:
            yield Lines("\n".join(self._size_lines()))
        if self.skipped:
            yield Lines("\n".join(self._skipped_lines()))
        yield from self._problem_blocks()
        if self.advice:
            yield Heading("advice, which training follows where it is given nothing else")
            yield from self.advice.blocks()
        yield Html(partial(_contact_sheet, self))

    def save_html(self, path: str | Path) -> None:
        """Write a page with counts, problems and a contact sheet as one HTML file.

        Args:
            path: The file; it is replaced if it exists.
        """
        from convwright.data.survey_page import write_survey_page

        write_survey_page(Path(path), self)

    def _class_table(self) -> _ClassTable:
        largest = max(1, max(self.counts["train"]))
        rows = [
            (
                name,
                *(f"{self.counts[split][label]:,}" for split in self.splits),
                "#" * round(BAR * self.counts["train"][label] / largest),
            )
            for label, name in enumerate(self.classes[:MOST_CLASSES])
        ]
        return _ClassTable(("class", *self.splits, ""), rows)

    def _size_lines(self) -> Iterator[str]:
        for name, spread in self.measures.items():
            yield f"{name:8}{spread.least:.4g} to {spread.most:.4g}, median {spread.median:.4g}"
        for name, counts in (("modes", self.modes), ("formats", self.formats)):
            if counts:
                yield f"{name:8}{', '.join(f'{key} {count:,}' for key, count in counts.items())}"

    def _skipped_lines(self) -> Iterator[str]:
        total = sum(each.files for each in self.skipped)
        yield f"{counted(total, 'file')} not used:"
        for each in self.skipped[:MOST_SKIPPED]:
            yield f"    {each}"
        if len(self.skipped) > MOST_SKIPPED:
            yield f"    and {len(self.skipped) - MOST_SKIPPED:,} more kinds (JSON has all)"

    def _problem_blocks(self) -> Iterator[Block]:
        count = len(self.problems)
        yield Heading(f"{count} problem{'s' * (count != 1)}" if count else "no problems were found")
        lines = []
        for problem in self.problems:
            lines.append(paragraph(f"- {problem.kind}: {problem.text}"))
            lines += [f"    {printable(detail)}" for detail in problem.details[:MOST_DETAILS]]
            if len(problem.details) > MOST_DETAILS:
                lines.append(f"    and {len(problem.details) - MOST_DETAILS:,} more (JSON has all)")
        if lines:
            yield Lines("\n".join(lines))


def _contact_sheet(survey: Survey) -> str:
    from convwright.data.survey_page import contact_sheet

    return contact_sheet(survey)


def survey_data(
    spec: str,
    progress: Progress | None = None,
    *,
    max_bad: float = MAX_BAD,
    columns: Mapping[str, str | None] = NO_COLUMNS,
) -> Survey:
    """Survey a folder, a list of images, tar files, a data set of Hugging Face, or a source by its name.

    Args:
        spec: Name of a source, a folder, or a list.
        max_bad: Largest share of the files that may be unreadable for training.
        columns: Columns of a list, by the names of the fields of `Data`.
        progress: Called with the number of images done, their total and a description.

    Raises:
        DataError: There is no such data, or its folders are not laid out by class.
    """
    if spec in SOURCES:
        check_no_columns(columns, spec)
        return _survey_source(spec, SOURCES[spec].read(False))
    found = labelled_images(spec, columns, progress=progress)
    if not isinstance(found, ImageList):
        with quiet():
            return _survey_items(spec, found, progress, max_bad)
    # What training would refuse is among the problems.
    return _survey_source(spec, parts_of_list(found, SOURCES[found.source].read(False), training=False))


def _survey_items(spec: str, data: LabelledItems, progress: Progress | None, max_bad: float) -> Survey:
    items, classes = data.items, len(data.classes)
    work: list[_File] = []
    for role, split in data.splits.items():
        labels = split.label_sets()
        shown = _chosen(labels, classes) if role == "train" else set()
        numbers = split.numbers.tolist()
        work.extend(
            _File(role, each, number, position in shown)
            for position, (each, number) in enumerate(zip(labels, numbers, strict=True))
        )

    def survey_image(item: _File, framing: Framing | None = None) -> SurveyedImage | Header | str:
        name = printable(items.names[item.number])
        try:
            reference = items.reference(item.number)
            header = read_header(opened(reference))
            if header.mode and framing is None:
                return header
            facts = read_facts(opened(reference))
            side = min(THUMBNAIL, facts.width, facts.height)
            # Every file is decoded, as damage shows only in the pixels.
            pixels = decode(opened(reference), side, 3, framing or Framing()).transpose(1, 2, 0)
            digest = _digest(reference)
        except Exception as error:  # Pillow raises nearly anything on damaged files
            line = "" if data.lines is None else f"line {data.lines[item.number]}: "
            return f"{line}{name}: {reason_of_item(items, item.number, error)}"
        return SurveyedImage(name, item.split, item.labels, facts, digest, pixels if item.shown else None)

    results = list(in_threads(survey_image, work, progress, "surveying images"))
    # Images with more than 8 bits per channel are decoded last: their range of values follows from all training images.
    deep = {position: found for position, found in enumerate(results) if isinstance(found, Header)}
    framing = framing_for(header for position, header in deep.items() if work[position].split == "train")
    for position in deep:
        results[position] = survey_image(work[position], framing)
    images = tuple(result for result in results if isinstance(result, SurveyedImage))
    failed = [result for result in results if isinstance(result, str)]
    for item, result in zip(work, results, strict=True):
        if isinstance(result, str):
            data.files.add(items.names[item.number], UNREADABLE)
    names = tuple(map(printable, data.classes))
    unreadable = (*data.skipped, *failed)
    return Survey(
        spec, names, tuple(data.splits), images, unreadable, len(failed), max_bad, skipped=data.files.counts()
    )


def _digest(reference: Reference) -> bytes:
    """Return a digest of an encoded image."""
    file = opened(reference)
    if isinstance(file, str):
        with open(file, "rb") as content:  # noqa: PTH123
            return hashlib.file_digest(content, "blake2b").digest()
    return hashlib.file_digest(file, "blake2b").digest()  # type: ignore[arg-type]


def _chosen(labels: Iterable[tuple[int, ...]], classes: int) -> set[int]:
    """Return positions of some images of each class."""
    by_class: dict[int, list[int]] = {}
    for position, each in enumerate(labels):
        for label in each:
            by_class.setdefault(label, []).append(position)
    return {positions[i] for positions in by_class.values() for i in _spread(len(positions), classes)}


def _spread(count: int, classes: int) -> Sequence[int]:
    shown = min(count, SHOWN_OF_A_CLASS, max(1, SHOWN_IN_ALL // classes))
    return [i * count // shown for i in range(shown)]


def _survey_source(name: str, data: Parts) -> Survey:
    present = data.splits()
    images = tuple(image for role, split in present.items() for image in _surveyed(role, split, len(data.classes)))
    return Survey(name, data.classes, tuple(present), images, data.skipped)


def _surveyed(role: str, split: Split, classes: int) -> Iterator[SurveyedImage]:
    height, width = split.size
    facts = Facts(width, height, "L" if split.channels == 1 else "RGB", "", 1)
    labels = split.label_sets()
    shown = _chosen(labels, classes) if role == "train" else set()
    for position, (each, digest) in enumerate(zip(labels, split.traits().digests.numpy(), strict=True)):
        pixels = None
        if position in shown:
            pixels = split.take(torch.tensor([position]))[0].expand(3, -1, -1).permute(1, 2, 0).numpy()
        yield SurveyedImage(f"{role}/{position}", role, each, facts, digest.tobytes(), pixels)
