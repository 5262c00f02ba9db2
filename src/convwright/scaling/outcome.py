"""Outcomes of the tasks of a study."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Outcome:
    """Result of a task."""

    accuracy: float
    """Share of the validation images that are right, or mean average precision, 0 to 1; 0 where training diverged."""
    loss: float | None = None
    test_accuracy: float | None = None
    train_seconds: float = 0.0
    """Seconds of the training steps."""
    seconds: float = 0.0
    """Seconds of the whole task, with validation and reading of data."""
    diverged: str | None = None
    """Why training diverged; None if it did not."""
    measure: str = "accuracy"
    """What accuracies are: `accuracy`, or `mean average precision` of multi-label data."""

    def to_dict(self) -> dict[str, object]:
        """Return a JSON-ready object from which `from_dict` makes an equal outcome."""
        fields = asdict(self)
        if self.measure == "accuracy":  # as earlier versions wrote and read outcomes
            del fields["measure"]
        return fields

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Outcome":
        """Return an outcome from what `to_dict` returned."""
        return cls(**data)
