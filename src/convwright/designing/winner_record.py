"""The winner of a design as `state.json` records it: its run, its long training and its test."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from convwright.stats.intervals import wilson


@dataclass(frozen=True)
class ScoredImages:
    """How many test images a network, or an exported file, classifies correctly."""

    right: int
    images: int

    @property
    def accuracy(self) -> float:
        """Share of the images, 0 to 1."""
        return self.right / self.images

    @property
    def interval(self) -> tuple[float, float]:
        """95 % confidence interval of the accuracy."""
        return wilson(self.right, self.images)


@dataclass(frozen=True)
class LongTraining:
    """The training of a winner after the race."""

    accuracy: float
    """Accuracy on the validation images, 0 to 1."""
    images: int
    """Number of validation images."""
    epochs: float
    """Epochs that were trained: fewer than planned where the training was stopped."""
    seconds: float
    stopped: bool = False
    """Whether it was stopped before its last step because its time was over."""


@dataclass(frozen=True)
class Winner:
    """The network that a design gives, once it is trained."""

    candidate: str
    """Name of the candidate."""
    run: str
    """Run directory, below the folder of the design."""
    training: LongTraining | None = None
    """Its training after the race; None where a run of the race is kept."""
    tested: ScoredImages | None = None
    """How many test images the run classifies correctly; None before they are predicted."""
    no_file: str = ""
    """Why there is no exported file; empty where there is one, or none has been tried."""
    file_problem: str = ""
    """Why the design failed because it has no exported file; empty where it did not."""

    def to_dict(self) -> dict[str, object]:
        """Return a JSON-ready object from which `from_dict` makes an equal winner."""
        found: dict[str, object] = {"candidate": self.candidate, "run": self.run}
        found |= {} if self.training is None else asdict(self.training)
        found |= {} if self.tested is None else {"tested": asdict(self.tested)}
        texts = {"no_file": self.no_file, "file_problem": self.file_problem}
        return found | {name: text for name, text in texts.items() if text}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "Winner":
        """Return a winner from what `to_dict` returned.

        Raises:
            TypeError: A value has another type, or its name is unknown.
            KeyError: A value is missing.
        """
        values = dict(stored)
        tested = values.pop("tested", None)
        texts = [values.pop("candidate"), values.pop("run"), values.pop("no_file", ""), values.pop("file_problem", "")]
        if not all(isinstance(text, str) for text in texts):
            raise TypeError("the winner's texts are not all texts")
        training = LongTraining(**values) if values else None
        numbers = [] if training is None else [training.accuracy, training.images, training.epochs, training.seconds]
        numbers += [] if tested is None else [tested["right"], tested["images"]]
        if not all(isinstance(number, int | float) and not isinstance(number, bool) for number in numbers):
            raise TypeError("the winner's figures are not all numbers")
        candidate, run, no_file, problem = texts
        return cls(candidate, run, training, None if tested is None else ScoredImages(**tested), no_file, problem)
