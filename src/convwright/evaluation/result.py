"""The result of an evaluation: accuracy with its interval, classes, confusion matrix and calibration."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from convwright.display.result import Block, Heading, Lines, Matrix, Paragraph, Table
from convwright.display.table import terminal_width
from convwright.evaluation.evaluated import Evaluated
from convwright.evaluation.measures import ClassScore, Measures, ReliabilityBin
from convwright.evaluation.overlap import overlap_notes
from convwright.evaluation.record import ImagePredictions
from convwright.evaluation.wording import view_notes
from convwright.options import Bounds, checks_arguments
from convwright.printable import printable
from convwright.stats.intervals import wilson

if TYPE_CHECKING:
    import torch

    from convwright.display.figures import Figure

LARGEST_MATRIX = 20
"""Most classes whose confusion matrix is printed; of more classes, the most confused pairs are."""
CLASSES_SHOWN = 40
PAIRS_SHOWN = 10
WIDEST_HEAD = 6
"""Longest class name over a column of the confusion matrix; otherwise the columns are numbered."""


@dataclass(frozen=True)
class NamedPair:
    """A number of images of one class that are predicted as another class."""

    label: str
    predicted_as: str
    images: int
    share: float
    """Share of the images of the class `label`, 0 to 1."""


@dataclass(frozen=True, eq=False)
class Evaluation(Evaluated[Measures, ImagePredictions]):
    """Measures of a run on images; `overlap` has those that it was trained on."""

    temperature: float = 1.0
    """What logits are divided by before their softmax, fitted on validation images; 1: it has not been fitted."""

    @property
    def accuracy(self) -> float:
        """Share of images predicted correctly, 0 to 1."""
        return self.measures.accuracy

    @property
    def interval(self) -> tuple[float, float]:
        """95 % confidence interval of the accuracy."""
        return self.measures.interval

    @property
    def loss(self) -> float:
        """Mean cross-entropy, of calibrated probabilities where the run has a fitted temperature."""
        return self.measures.loss

    @property
    def top5(self) -> float | None:
        """Share of images whose class is among the five most likely; None if there are no more than five classes."""
        return self.measures.top5

    @property
    def calibration_error(self) -> float:
        """Expected calibration error, 0 to 1."""
        return self.measures.calibration_error

    @property
    def reliability(self) -> tuple[ReliabilityBin, ...]:
        """Accuracy and mean confidence by confidence."""
        return self.measures.reliability

    @property
    def confusion(self) -> "torch.Tensor":
        """Images by class (rows) and predicted class (columns), int64."""
        return self.measures.confusion

    @property
    def classes(self) -> list[ClassScore]:
        """Precision, recall and F1 of each class."""
        return self.measures.class_scores(self.class_names)

    @checks_arguments
    def most_confused(self, most: Annotated[int, Bounds(ge=0)] = PAIRS_SHOWN) -> list[NamedPair]:
        """Return the pairs of classes that are confused most often, the most frequent pair first.

        Args:
            most: Largest number of pairs.
        """
        sizes = self.measures.pairs.by_class.tolist()
        names = self.class_names
        return [
            NamedPair(names[pair.truth], names[pair.predicted_as], pair.images, pair.images / sizes[pair.truth])
            for pair in self.measures.most_confused(most)
        ]

    def repr_fields(self) -> dict[str, object]:
        """Return what `repr` shows."""
        return {"network": self.network, "split": self.split, "images": self.images, "accuracy": self.accuracy}

    def to_dict(self) -> dict[str, object]:
        """Return run, network, data, split and views, every measure, and the accuracy on images not trained on."""
        return {
            **self.described(),
            "new_images": self._on_new_images(),
            "temperature": self.temperature,
            **self.measures.to_dict(self.class_names),
        }

    def to_csv(self) -> str:
        """Return label, predicted class and probability of each image, as `--predictions` writes them."""
        return self.predictions.to_csv(self.class_names)

    @property
    def summary(self) -> str:
        """Accuracy, its interval and the loss."""
        low, high = self.interval
        which = f"{'' if self.split == 'all' else self.split + ' '}images"
        which += "" if self.own_data else f" of {printable(self.data)}"
        return (
            f"{printable(self.network)}: accuracy {self.accuracy:.2%} (95 % interval {low:.2%} to {high:.2%}) "
            f"on {self.images:,} {which}, loss {self.loss:.4f}"
        )

    def blocks(self) -> Iterable[Block]:
        """Yield the headline, the classes, and the confusion matrix or the most confused pairs."""
        yield Paragraph("\n".join([self.summary, *self._notes()]))
        yield from class_table(self.classes)
        yield from self._confusion_table()

    def figures(self) -> "Sequence[Figure]":
        """Return the confusion matrix and the reliability diagram."""
        from convwright.evaluation.figures import evaluation_figure

        return [evaluation_figure(self.network, self.class_names, self.measures)]

    def _notes(self) -> Iterable[str]:
        yield from view_notes(self.views, augmented=self.augmented)
        if self.top5 is not None and self.measures.top5_interval is not None:
            low, high = self.measures.top5_interval
            yield f"top-5 accuracy {self.top5:.2%} (95 % interval {low:.2%} to {high:.2%})"
        yield from overlap_notes(self.overlap, self.measured_on)
        yield f"calibration error {self.calibration_error:.2%}: the mean difference between confidence and accuracy"
        if self.temperature != 1:
            yield (
                f"probabilities and loss are calibrated with temperature {self.temperature:.3g}, which was fitted on "
                "validation images"
            )

    def measured_on(self, chosen: "torch.Tensor") -> str:
        """Return the accuracy on some of the images in words.

        Args:
            chosen: N, bool: whether an image is one of them.
        """
        correct, images = int((self.predictions.correct & chosen).sum()), int(chosen.sum())
        low, high = wilson(correct, images)
        return f"accuracy {correct / images:.2%} (95 % interval {low:.2%} to {high:.2%})"

    def _on_new_images(self) -> dict[str, object] | None:
        """Return the accuracy on the images that the run was not trained on; None where unknown or without any."""
        new = self.overlap.new
        if new is None or not new.any():
            return None
        correct, images = int((self.predictions.correct & new).sum()), int(new.sum())
        return {"images": images, "accuracy": correct / images, "interval": list(wilson(correct, images))}

    def _confused_pairs(self) -> Block:
        pairs = self.most_confused()
        worst = [(one.label, one.predicted_as, f"{one.images:,}", f"{one.share:.1%}", "") for one in pairs]
        titles = ("most often confused", "predicted as", "images", "of the class", "")
        return Table(titles, worst, left=2) if worst else Paragraph("Every image is predicted correctly.")

    def _confusion_table(self) -> Iterable[Block]:
        names = self.class_names
        if len(names) > LARGEST_MATRIX:
            yield self._confused_pairs()
            return
        heads: tuple[str, ...] = names
        if max(map(len, names)) > WIDEST_HEAD:
            heads = tuple(f"({number})" for number in range(1, len(names) + 1))
            names = tuple(f"{head:>4} {name}" for head, name in zip(heads, names, strict=True))
        counts = [[f"{count:,}" if count else "·" for count in row] for row in self.confusion.tolist()]
        rows = [(name, *row, "") for name, row in zip(names, counts, strict=True)]
        yield Heading("Images by class (down) and predicted class (across)")
        yield _Matrix(("class", *heads, ""), rows, otherwise=self._confused_pairs())


@dataclass(frozen=True, kw_only=True)
class _Matrix(Matrix):
    """A table that a terminal shows only where it is wide enough."""

    otherwise: Block

    def __str__(self) -> str:
        text = super().__str__()
        return text if max(map(len, text.splitlines())) <= terminal_width() else str(self.otherwise)


def class_table(scores: Sequence[ClassScore]) -> Iterable[Block]:
    """Yield a table of classes; of many classes, those of lowest F1.

    Args:
        scores: Precision, recall and F1 of each class.
    """
    shown = scores
    if len(scores) > CLASSES_SHOWN:
        shown = sorted(scores, key=lambda score: (score.f1 is None, score.f1))[:CLASSES_SHOWN]
    rows = [
        (
            score.name,
            f"{score.images:,}",
            _percent(score.precision),
            _percent(score.recall),
            _range(score.recall_interval),
            _percent(score.f1),
            "",
        )
        for score in shown
    ]
    yield Table(("class", "images", "precision", "recall", "95 % interval", "F1", ""), rows)
    if len(shown) < len(scores):
        yield Lines(f"the {len(shown)} classes of lowest F1; `to_dict()` has all {len(scores):,}")


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def _range(interval: tuple[float, float] | None) -> str:
    return "-" if interval is None else f"{interval[0]:.1%} to {interval[1]:.1%}"
