"""The best network of a design while it is still in training."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from convwright.designing.context import DesignContext
from convwright.designing.state import BestSoFar
from convwright.designing.trials import most_frequent_share
from convwright.display.wording import percent
from convwright.training.callbacks import Callback


@dataclass
class KeepBest(Callback):
    """Makes the run in training the best of a design as soon as a validation shows that it is.

    Args:
        context: The design.
        candidate: Name of the candidate, which is within the budget.
        run: Run directory, below the folder of the design.
        announce: Whether to report the first accuracy that is higher than that of always predicting one class.
    """

    context: DesignContext
    candidate: str
    run: str
    announce: bool = False

    def on_validation(self, row: Mapping[str, float]) -> None:
        """Compare the accuracy with the best so far; the run has its best weights by now."""
        state, accuracy = self.context.state, row["val_accuracy"]
        if not math.isfinite(accuracy):  # of a validation that is not counted
            return
        before = state.best
        state.offer_run(BestSoFar(self.candidate, self.run, accuracy))
        if state.best is not before:
            self.context.keep()
        if self.announce and accuracy > self._most_frequent:
            self.announce = False
            images = f"{len(self.context.dataset.val):,} validation images"
            self.context.report(
                f"first result: {self.candidate}: {percent(accuracy)} of {images} correct; its training continues"
            )

    @property
    def _most_frequent(self) -> float:
        """Share of the most frequent class among the validation images."""
        return most_frequent_share(self.context.dataset.val.labels)
