"""The thresholds of a multi-label run: for each class the probability from which on it is predicted."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from convwright import json_text
from convwright.errors import RunError
from convwright.training.records import STRICT, parse_record

NAME = "thresholds.json"
"""The file in a run directory. It is written with the best weights, from the same validation."""


@dataclass(frozen=True, config=STRICT)
class Thresholds:
    """Thresholds of highest F1 on the validation images."""

    thresholds: dict[str, Annotated[float, Field(ge=0, le=1)]]
    """By class."""
    schema_version: Literal[1] = 1
    """Version of the format."""

    @classmethod
    def parse(cls, content: bytes, path: Path, classes: tuple[str, ...]) -> tuple[float, ...]:
        """Return the thresholds in the order of the classes.

        Args:
            content: Content of the file.
            path: The file, for error messages.
            classes: The classes of the run.

        Raises:
            RunError: The file is not valid, or has other classes.
        """
        found: Thresholds = parse_record(cls, content, path)
        if set(found.thresholds) != set(classes):
            different = next(iter(set(found.thresholds) ^ set(classes)))
            raise RunError(f"{path}: thresholds: must be of the run's classes; {different!r} is only in one of the two")
        return tuple(found.thresholds[name] for name in classes)

    @classmethod
    def of(cls, classes: tuple[str, ...], thresholds: tuple[float, ...]) -> "Thresholds":
        """Return the thresholds of classes in the same order."""
        return cls(dict(zip(classes, thresholds, strict=True)))

    def to_json_text(self) -> str:
        """Return the file's content."""
        return json_text.dump({"thresholds": self.thresholds, "schema_version": self.schema_version}, indent=1) + "\n"
