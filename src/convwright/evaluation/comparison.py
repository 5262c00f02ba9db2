"""Two runs compared on the same images: the paired difference of their accuracies."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch

from convwright.data.opened import Data
from convwright.display.result import Block, Paragraph, Result, Table
from convwright.errors import ArgumentError
from convwright.evaluation.evaluating import evaluate_run
from convwright.evaluation.multi_label_comparison import MultiLabelComparison
from convwright.evaluation.multi_label_result import MultiLabelEvaluation
from convwright.evaluation.overlap import overlap_notes
from convwright.evaluation.result import Evaluation
from convwright.printable import printable
from convwright.stats.paired import PairedDifference
from convwright.training.run import Run
from convwright.training.run_data import is_own


@dataclass(frozen=True, eq=False)
class Comparison(PairedDifference, Result):
    """Two runs on the same images."""

    first: Evaluation
    second: Evaluation

    @property
    def images(self) -> int:
        """Number of images."""
        return self.first.images

    @property
    def only_first(self) -> int:
        """Images that only the first run predicts correctly."""
        return int((self.first.predictions.correct & ~self.second.predictions.correct).sum())

    @property
    def only_second(self) -> int:
        """Images that only the second run predicts correctly."""
        return int((self.second.predictions.correct & ~self.first.predictions.correct).sum())

    def repr_fields(self) -> dict[str, object]:
        """Return what `repr` shows."""
        return {"first": self.first.run, "second": self.second.run, "difference": self.difference}

    def to_dict(self) -> dict[str, object]:
        """Return the images, both runs' accuracies, and their difference with its interval and p-value."""
        return {
            "data": self.first.data,
            "split": self.first.split,
            "images": self.images,
            "first": _accuracy(self.first),
            "second": _accuracy(self.second),
            "only_first": self.only_first,
            "only_second": self.only_second,
            "difference": self.difference,
            "interval": list(self.interval),
            "p_value": self.p_value,
        }

    def blocks(self) -> Iterable[Block]:
        """Yield a table of both runs, and their difference."""
        runs = (self.first, self.second)
        rows = [
            (each.run, each.network, f"{each.accuracy:.2%}", f"{each.interval[0]:.2%} to {each.interval[1]:.2%}", "")
            for each in runs
        ]
        yield Table(("run", "network", "accuracy", "95 % interval", ""), rows, left=2)
        low, high = self.interval
        which = "images" if self.first.split == "all" else f"{self.first.split} images"
        verdict = "a significant difference" if self.significant else "statistically indistinguishable"
        yield Paragraph(
            f"difference {100 * self.difference:+.2f} percentage points "
            f"(95 % interval {100 * low:+.2f} to {100 * high:+.2f}) on {self.images:,} {which}\n"
            f"correct in the first run only: {self.only_first:,} images; in the second only: {self.only_second:,}\n"
            f"McNemar's exact test: p = {self.p_value:.3g}, {verdict} at 5 %"
        )
        if lines := [*_trained_on(self.first), *_trained_on(self.second)]:
            yield Paragraph("\n".join(lines))


def compare_runs(
    first: Run,
    second: Run,
    *,
    split: str | None = None,
    data: Data | str | Path | None = None,
    device: torch.device | str = "auto",
) -> Comparison | MultiLabelComparison:
    """Evaluate two runs on the same images.

    Args:
        first: A run.
        second: Another run with the same classes.
        split: `test`, `val`, `train` or `all`; None: as `evaluate_run` chooses.
        data: Other data with the classes of both runs; None: the runs' own data.
        device: Where the networks compute.

    Raises:
        RunError: A run has no weights yet, or is damaged.
        DataError: The data cannot be opened or has other classes.
        ArgumentError: The runs have different data, or hold out different images.
    """
    if data is None and first.config.data != second.config.data:
        both = f"{first.config.data}, {second.config.data}"
        raise ArgumentError("data", f"must be given for runs that were trained on different data ({both})")
    # A run's own data has images that it was not trained on; both runs are measured on these.
    leading, following = (second, first) if data is not None and is_own(second, data) else (first, second)
    found = evaluate_run(leading, split, data=data, device=device)
    paired = evaluate_run(following, found.split, data=data, device=device)
    one, other = (found, paired) if leading is first else (paired, found)
    if one.predictions.key != other.predictions.key:
        raise ArgumentError(
            "split",
            f"the runs have different {one.split} images, since they were split with different seeds or shares; "
            "choose test, or give data that neither was trained on",
        )
    if isinstance(one, MultiLabelEvaluation) and isinstance(other, MultiLabelEvaluation):
        return MultiLabelComparison(one, other)
    if isinstance(one, MultiLabelEvaluation) or isinstance(other, MultiLabelEvaluation):
        raise ArgumentError("second", "one run is multi-label, the other single-label; compare runs of the same kind")
    return Comparison(one, other)


def _accuracy(evaluation: Evaluation) -> dict[str, object]:
    return {
        "run": evaluation.run,
        "network": evaluation.network,
        "accuracy": evaluation.accuracy,
        "interval": list(evaluation.interval),
        "training_images": evaluation.overlap.images,
    }


def _trained_on(evaluation: Evaluation) -> Iterable[str]:
    """Yield a line on the images that a run was trained on, which it has an advantage on."""
    return overlap_notes(evaluation.overlap, evaluation.measured_on, printable(evaluation.run))
