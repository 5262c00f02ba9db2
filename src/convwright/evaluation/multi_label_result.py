"""The result of evaluating a multi-label network: average precision, F1 by class, and co-occurrence."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from convwright.brief import Brief
from convwright.csv_text import csv_table
from convwright.display.result import Block, Lines, Paragraph, Table
from convwright.evaluation.evaluated import Evaluated
from convwright.evaluation.multi_label import LabelScore, MultiLabelMeasures
from convwright.evaluation.overlap import overlap_notes
from convwright.evaluation.wording import images_in_words, view_notes
from convwright.printable import printable

if TYPE_CHECKING:
    from convwright.display.figures import Figure

CLASSES_SHOWN = 40
PAIRS_SHOWN = 10
ABSENT_SHOWN = 5
SEPARATOR = "|"
"""Between the labels of an image in CSV files; lists of images are read with it too."""


@dataclass(frozen=True, eq=False)
class LabelSets(Brief):
    """Labels and predicted classes of each image of an evaluation, in order."""

    labels: torch.Tensor
    """N x K, bool."""
    predicted: torch.Tensor
    """N x K, bool."""
    probabilities: torch.Tensor
    """N x K, float64."""
    images: tuple[tuple[str, object], ...]
    """The split of each image, and its file or its position in the split."""
    key: str
    """Digest of the choice of images, the same for every network."""

    def to_csv(self, classes: Sequence[str]) -> str:
        """Return a table with a row for each image: labels, predicted classes, and those missed and added.

        Args:
            classes: Names of the classes.
        """
        rows: list[tuple[object, ...]] = [
            ("split", "image", "labels", "predictions", "probabilities", "missed", "extra")
        ]
        for row, image in enumerate(self.images):
            truth, found, chances = self.labels[row], self.predicted[row], self.probabilities[row]
            shares = SEPARATOR.join(f"{share:.6g}" for share in chances[found].tolist())
            sets = [named(some, classes) for some in (truth, found, truth & ~found, found & ~truth)]
            cells = [SEPARATOR.join(names) for names in sets]
            rows.append((*image, *cells[:2], shares, *cells[2:]))
        return csv_table(rows)


def named(present: torch.Tensor, classes: Sequence[str]) -> list[str]:
    """Return the names of the classes that a row of K booleans has."""
    return [classes[place] for place in present.nonzero().flatten().tolist()]


@dataclass(frozen=True, eq=False)
class MultiLabelEvaluation(Evaluated[MultiLabelMeasures, LabelSets]):
    """Measures of a multi-label run on a set of images."""

    @property
    def mean_average_precision(self) -> float:
        """Mean average precision over the classes that have images, 0 to 1."""
        return self.measures.mean_average_precision.value

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 % bootstrap interval of the mean average precision over images; None for a single image."""
        return self.measures.mean_average_precision.interval

    @property
    def loss(self) -> float:
        """Mean over images of the binary cross-entropy, summed over classes."""
        return self.measures.loss

    @property
    def micro_f1(self) -> float | None:
        """F1 of all pairs of image and class together."""
        return self.measures.micro_f1

    @property
    def macro_f1(self) -> float | None:
        """Mean of the F1 of the classes."""
        return self.measures.macro_f1

    @property
    def subset_accuracy(self) -> float:
        """Share of images for which exactly the classes that they have are predicted, 0 to 1."""
        return self.measures.subset_accuracy

    @property
    def cooccurrence(self) -> torch.Tensor:
        """K x K, int64: images that have both classes; on the diagonal, images of each class."""
        return self.measures.cooccurrence

    @property
    def classes(self) -> list[LabelScore]:
        """Average precision, and precision, recall and F1 at its threshold, of each class."""
        return self.measures.class_scores(self.class_names)

    def repr_fields(self) -> dict[str, object]:
        """Return what `repr` shows."""
        precision = self.mean_average_precision
        return {"network": self.network, "split": self.split, "images": self.images, "map": precision}

    def to_dict(self) -> dict[str, object]:
        """Return run, network, data, split and views, and every measure."""
        return {
            **self.described(),
            "training_images_unknown": self.overlap.unknown or None,
            **self.measures.to_dict(self.class_names),
        }

    def to_csv(self) -> str:
        """Return labels and predicted classes of each image, as `--predictions` writes them."""
        return self.predictions.to_csv(self.class_names)

    @property
    def summary(self) -> str:
        """Mean average precision, its interval and the loss."""
        which = images_in_words(self.images, self.split, "" if self.own_data else self.data)
        return (
            f"{printable(self.network)}: mean average precision {self.mean_average_precision:.2%}"
            f"{_range(self.interval)} on {which}, loss {self.loss:.4f}"
        )

    def blocks(self) -> Iterable[Block]:
        """Yield the headline, the classes, and the pairs of classes that occur together most often."""
        subset = _range(self.measures.subset_interval)
        lines = [self.summary, *view_notes(self.views, augmented=self.augmented)]
        if self.micro_f1 is not None and self.macro_f1 is not None:
            lines.append(f"F1 {self.micro_f1:.2%} over all labels (micro), {self.macro_f1:.2%} by class (macro)")
        lines += self.overlap_lines()
        lines.append(f"exactly the right classes for {self.subset_accuracy:.2%} of the images{subset}")
        if absent := [printable(score.name) for score in self.classes if score.average_precision is None]:
            more = f" and {len(absent) - ABSENT_SHOWN} more" if len(absent) > ABSENT_SHOWN else ""
            names = ", ".join(absent[:ABSENT_SHOWN])
            lines.append(f"without images, and left out of the mean average precision: {names}{more}")
        if self.own_data and self.split in ("val", "all"):
            lines.append("the thresholds were chosen on the validation images, so that F1 is too high on them")
        yield Paragraph("\n".join(lines))
        yield from label_table(self.classes)
        yield from _pair_table(self.measures, self.class_names)

    def overlap_lines(self, name: str = "the run") -> list[str]:
        """Return a line on the images that the run was trained on, which it has an advantage on.

        Args:
            name: The run in the sentence.
        """

        def measured_on(chosen: torch.Tensor) -> str:
            found = self.measures.mean_precision_on(chosen)
            return (
                "no classes" if found is None else f"mean average precision {found.value:.2%}{_range(found.interval)}"
            )

        return list(overlap_notes(self.overlap, measured_on, printable(name)))

    def figures(self) -> "Sequence[Figure]":
        """Return average precision and F1 by class, and how often classes occur together."""
        from convwright.evaluation.multi_label_figures import multi_label_figure

        return [multi_label_figure(self.network, self.class_names, self.measures)]


def label_table(scores: Sequence[LabelScore]) -> Iterable[Block]:
    """Yield a table of classes; of many classes, those of lowest average precision.

    Args:
        scores: Scores of each class.
    """
    shown = scores
    if len(scores) > CLASSES_SHOWN:
        worst = sorted(scores, key=_low_precision_first)
        shown = worst[:CLASSES_SHOWN]
    rows = [
        (
            score.name,
            f"{score.images:,}",
            _percent(score.average_precision),
            f"{score.threshold:.3f}",
            _percent(score.precision),
            _percent(score.recall),
            _percent(score.f1),
            "",
        )
        for score in shown
    ]
    yield Table(("class", "images", "AP", "threshold", "precision", "recall", "F1", ""), rows)
    if len(shown) < len(scores):
        yield Lines(f"the {len(shown)} classes of lowest AP; `to_dict()` has all {len(scores):,}")
    yield Lines(
        "AP: average precision; precision, recall and F1 at the threshold, that of highest F1 on the validation images"
    )


def _pair_table(measures: MultiLabelMeasures, classes: Sequence[str]) -> Iterable[Block]:
    truth, found = measures.cooccurrence.triu(1), measures.predicted_cooccurrence
    pairs = sorted(truth.nonzero().tolist(), key=lambda pair: (-int(truth[pair[0], pair[1]]), pair))[:PAIRS_SHOWN]
    rows = [
        (classes[one], classes[other], f"{int(truth[one, other]):,}", f"{int(found[one, other]):,}", "")
        for one, other in pairs
    ]
    if rows:
        yield Table(("most often together", "with", "images", "predicted", ""), rows, left=2)


def _low_precision_first(score: LabelScore) -> tuple[bool, float]:
    """Return a key by which classes without images come last."""
    return score.average_precision is None, score.average_precision or 0.0


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def _range(interval: tuple[float, float] | None) -> str:
    return "" if interval is None else f" (95 % interval {interval[0]:.2%} to {interval[1]:.2%})"
