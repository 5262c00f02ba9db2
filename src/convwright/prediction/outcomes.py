"""The outcome for one image: its most likely classes, or why it cannot be read."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path

from convwright.brief import Brief
from convwright.errors import UsageError
from convwright.printable import printable


@dataclass(frozen=True)
class Prediction(Brief):
    """Classes and their probabilities for one image, most likely first."""

    classes: tuple[str, ...]
    probabilities: tuple[float, ...]
    file: str = ""
    """Name of the image."""

    @property
    def label(self) -> str:
        """The most likely class."""
        return self.classes[0]

    @property
    def probability(self) -> float:
        """Probability of the most likely class, 0 to 1."""
        return self.probabilities[0]

    def ranked(self) -> Iterator[tuple[str, float]]:
        """Yield each class and its probability."""
        return zip(self.classes, self.probabilities, strict=True)

    def repr_fields(self) -> dict[str, object]:
        """Return what `repr` shows."""
        return {"file": self.file, "label": self.label, "probability": self.probability}

    def to_dict(self) -> dict[str, object]:
        """Return the file and its classes with their probabilities."""
        found = [{"class": label, "probability": probability} for label, probability in self.ranked()]
        return {"file": readable_name(self.file), "predictions": found}

    def __str__(self) -> str:
        shares = ", ".join(f"{printable(label)} {probability:.1%}" for label, probability in self.ranked())
        return f"{printable(self.file)}: {shares}" if self.file else shares

    def _repr_html_(self) -> str:
        return f"<p>{escape(str(self))}</p>"


@dataclass(frozen=True)
class ClassSet(Prediction):
    """Any number of classes for one image, most likely first; there may be none."""

    def repr_fields(self) -> dict[str, object]:
        """Return what `repr` shows."""
        return {"file": self.file, "classes": ", ".join(self.classes)}

    def described(self) -> str:
        """Return the classes with their probabilities, as text."""
        return ", ".join(f"{printable(label)} {share:.1%}" for label, share in self.ranked()) or "no class"

    def __str__(self) -> str:
        return f"{printable(self.file)}: {self.described()}" if self.file else self.described()


@dataclass(frozen=True)
class LabelSet(ClassSet):
    """The classes that a multi-label network predicts for one image.

    A class is predicted where its probability is at least its threshold.
    """

    @property
    def label(self) -> str:
        """Not defined: a multi-label network predicts any number of classes.

        Raises:
            UsageError: Always.
        """
        raise UsageError("a multi-label network predicts any number of classes for an image; use `classes`")

    @property
    def probability(self) -> float:
        """Not defined: a multi-label network predicts any number of classes.

        Raises:
            UsageError: Always.
        """
        raise UsageError("a multi-label network predicts any number of classes for an image; use `probabilities`")


@dataclass(frozen=True)
class PredictionSet(ClassSet):
    """The classes that contain the true one of an image in a given share of cases; probabilities are calibrated.

    Where the network is right more often than the share, some sets are empty: those of its least certain images.
    """

    coverage: float = 0.0
    """Share of images whose set contains the true class."""
    known: bool = True
    """Whether the image is like those that the network was trained on, by its out-of-distribution score; by the energy
    of its logits where the network has no such score."""

    @property
    def label(self) -> str:
        """The most likely class of the set.

        Raises:
            UsageError: The set is empty.
        """
        if not self.classes:
            raise UsageError("the prediction set is empty; use `classes`")
        return self.classes[0]

    @property
    def probability(self) -> float:
        """Calibrated probability of the most likely class of the set.

        Raises:
            UsageError: The set is empty.
        """
        if not self.classes:
            raise UsageError("the prediction set is empty; use `probabilities`")
        return self.probabilities[0]

    def described(self) -> str:
        """Return the classes with their probabilities, the coverage of the set, and a note on unknown images."""
        notes = [f"{100 * self.coverage:g}% coverage", *["unlike the training images"] * (not self.known)]
        return f"{super().described()} ({', '.join(notes)})"

    def to_dict(self) -> dict[str, object]:
        """Return the file, the coverage, whether the image is like those trained on, and the classes of the set."""
        return super().to_dict() | {"coverage": self.coverage, "known": self.known}


@dataclass(frozen=True)
class UnreadableImage(Brief):
    """An image that cannot be read."""

    file: str
    reason: str
    """A sentence that names the image."""


def name_of(image: object, number: int) -> str:
    """Return the name of an image: that of its file if it has one, else its number, from 1.

    Args:
        image: The image, or its file.
        number: Position among the images.
    """
    return _file_of(image) or f"image {number}"


def has_file(image: object) -> bool:
    """Return whether an image is a file or has the name of one."""
    return bool(_file_of(image))


def _file_of(image: object) -> str:
    name = image if isinstance(image, str | Path) else getattr(image, "filename", "") or getattr(image, "name", "")
    return str(name) if isinstance(name, str | Path) else ""


def readable_name(file: str) -> str:
    """Return the name of a file for formats that quote line breaks themselves; bytes that are no text are escaped."""
    return os.fsencode(file).decode("utf-8", "backslashreplace")
