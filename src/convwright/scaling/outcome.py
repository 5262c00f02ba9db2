"""Outcomes of the tasks of a study."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Outcome:
    """Result of a task."""

    accuracy: float
    """Share of the validation images that are right, 0 to 1; 0 where training diverged."""
    loss: float | None = None
    test_accuracy: float | None = None
    train_seconds: float = 0.0
    """Seconds of the training steps."""
    seconds: float = 0.0
    """Seconds of the whole task, with validation and reading of data."""
    diverged: str | None = None
    """Why training diverged; None if it did not."""

    def to_dict(self) -> dict[str, object]:
        """Return a JSON-ready object from which `from_dict` makes an equal outcome."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Outcome":
        """Return an outcome from what `to_dict` returned."""
        return cls(**data)
