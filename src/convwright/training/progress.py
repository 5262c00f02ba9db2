"""How a run is carried out, and how far it has come."""

import math
from dataclasses import dataclass, field

from convwright.training.records import measure_of


@dataclass(frozen=True)
class Runtime:
    """Execution settings that do not affect the result of a run."""

    workers: int = 0
    """Threads that prefetch batches, or processes that decode images during training; 0: none, or one for each core."""
    checkpoint_seconds: float = 300.0
    """Time from one checkpoint to the next; there is one at each validation too."""
    validate_once: bool = False
    """Validate at the end only, whose weights then are the best; a resumed run needs the same value."""


@dataclass
class Progress:
    """How far a run has come: all of its state but weights and optimizer."""

    step: int = 0
    loss: float = 0.0
    correct: int = 0
    images: int = 0
    """Sums over the steps since the last validation."""
    seconds_since: float = 0.0
    seconds: float = 0.0
    """Training time without validation: since the last validation, and in total."""
    best: int = -1
    """Index of the row with the highest validation accuracy, or mean average precision (of equals, the lowest loss)."""
    rows: list[dict[str, float]] = field(default_factory=list)

    def count(self, images: int, loss: float, correct: int, seconds: float) -> None:
        """Note one step."""
        self.step += 1
        self.loss += loss * images
        self.correct += correct
        self.images += images
        self.seconds_since += seconds
        self.seconds += seconds

    def add_validation(self, row: dict[str, float]) -> bool:
        """Note a validation; return whether it is the best so far."""
        self.rows.append(row)
        self.loss, self.correct, self.images, self.seconds_since = 0.0, 0, 0, 0.0
        better = math.isfinite(row["val_loss"]) and (self.best < 0 or _quality(row) > _quality(self.rows[self.best]))
        if better:
            self.best = len(self.rows) - 1
        return better


def _quality(row: dict[str, float]) -> tuple[float, float]:
    return measure_of(row)[1], -row["val_loss"]
