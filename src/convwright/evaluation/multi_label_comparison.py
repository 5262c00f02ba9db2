"""Two multi-label runs compared on the same images: the paired difference of their mean average precisions."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from convwright.display.result import Block, Paragraph, Result, Table
from convwright.evaluation.multi_label_result import MultiLabelEvaluation
from convwright.evaluation.wording import images_in_words
from convwright.stats.average_precision import PrecisionDifference, precision_difference
from convwright.stats.paired import SIGNIFICANCE


@dataclass(frozen=True, eq=False)
class MultiLabelComparison(Result):
    """Two multi-label runs on the same images."""

    first: MultiLabelEvaluation
    second: MultiLabelEvaluation

    @property
    def images(self) -> int:
        """Number of images."""
        return self.first.images

    @cached_property
    def _paired(self) -> PrecisionDifference:
        one, other = self.first.measures, self.second.measures
        return precision_difference(one.logits.numpy(), other.logits.numpy(), one.labels.numpy())

    @property
    def difference(self) -> float:
        """Mean average precision of the first run minus that of the second, -1 to 1."""
        return self._paired.difference

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 % interval of the difference, by a paired bootstrap over images; None for a single image."""
        return self._paired.interval

    @property
    def p_value(self) -> float:
        """Two-sided p-value of the paired bootstrap."""
        return self._paired.p_value

    @property
    def significant(self) -> bool:
        """Whether the difference is statistically significant at 5 %."""
        return self.p_value < SIGNIFICANCE

    def repr_fields(self) -> dict[str, object]:
        """Return what `repr` shows."""
        return {"first": self.first.run, "second": self.second.run, "difference": self.difference}

    def to_dict(self) -> dict[str, object]:
        """Return the images, both runs' mean average precisions, and their difference with interval and p-value."""
        return {
            "data": self.first.data,
            "split": self.first.split,
            "images": self.images,
            "first": _precision(self.first),
            "second": _precision(self.second),
            "difference": self.difference,
            "interval": self.interval and list(self.interval),
            "p_value": self.p_value,
        }

    def blocks(self) -> Iterable[Block]:
        """Yield a table of both runs, and their difference."""
        rows = [
            (each.run, each.network, f"{each.mean_average_precision:.2%}", _range(each.interval), "")
            for each in (self.first, self.second)
        ]
        yield Table(("run", "network", "mAP", "95 % interval", ""), rows, left=2)
        verdict = "a significant difference" if self.significant else "statistically indistinguishable"
        bounds = ""
        if self.interval is not None:
            bounds = f" (95 % interval {100 * self.interval[0]:+.2f} to {100 * self.interval[1]:+.2f})"
        yield Paragraph(
            f"difference in mean average precision {100 * self.difference:+.2f} percentage points{bounds} on "
            f"{images_in_words(self.images, self.first.split)}\n"
            f"paired bootstrap over images: p = {self.p_value:.3g}, {verdict} at 5 %"
        )
        if lines := [*self.first.overlap_lines(self.first.run), *self.second.overlap_lines(self.second.run)]:
            yield Paragraph("\n".join(lines))


def _precision(evaluation: MultiLabelEvaluation) -> dict[str, object]:
    return {
        "run": evaluation.run,
        "network": evaluation.network,
        "map": evaluation.mean_average_precision,
        "interval": evaluation.interval and list(evaluation.interval),
        "training_images": evaluation.overlap.images,
    }


def _range(interval: tuple[float, float] | None) -> str:
    return "-" if interval is None else f"{interval[0]:.2%} to {interval[1]:.2%}"
