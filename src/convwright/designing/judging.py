"""Comparison of a race's networks on test images, after all choices: validation images favour what they chose."""

from dataclasses import dataclass

import torch

from convwright.designing.clock import Clock
from convwright.designing.ideas import compared_trials
from convwright.designing.state import State, TestScore
from convwright.designing.trials import Trainer, pack_bits
from convwright.display.wording import counted
from convwright.errors import ConvwrightError
from convwright.training.run import Run

MIN_IMAGES = 100
"""Test images that a comparison needs at least; of a smaller test split, all are needed."""
PLANNED_SHARE = 0.7
"""Share of the time for which predictions are planned, as the machine may become slower."""
LOADING_SECONDS = 0.3
"""Seconds in which a network and its weights are loaded."""


@dataclass(frozen=True)
class Judge:
    """Measures the networks that a design compares on its test images.

    The validation images chose the candidates of each round, so they favour the leader. The test images influenced no
    choice. They are used when the winner has been trained and exported, so that they cannot influence one any more.
    """

    state: State
    trainer: Trainer
    clock: Clock

    def run(self, seconds: float) -> None:
        """Predict the test images, or as many as there is time for, with each network that is compared.

        Args:
            seconds: Time for all predictions.
        """
        missing = [each for each in compared_trials(self.state) if self.state.test_score(each.run) is None]
        test = self.trainer.data.dataset().test
        if not missing or test is None:
            return
        until = self.clock.passed + seconds
        count = self._count(seconds, [each.image_seconds for each in missing], len(test))
        positions = torch.randperm(len(test), generator=torch.Generator().manual_seed(self.trainer.seed))[:count]
        for trial in missing:
            if not count or self.clock.passed > until:
                self._note(seconds)
                return
            try:
                right = self.trainer.predict_test(Run.open(self.trainer.folder / trial.run), positions.sort().values)
            except ConvwrightError:  # the comparison on validation images remains
                continue
            self.state.test_scores.append(TestScore(trial.run, pack_bits(right), len(right)))
        self.state.save()

    def _count(self, seconds: float, image_seconds: list[float], images: int) -> int:
        """Return how many test images all networks can predict in a time; 0 if they are too few to compare on.

        Args:
            seconds: The time.
            image_seconds: Seconds in which each network predicts an image.
            images: Number of test images.
        """
        left = PLANNED_SHARE * seconds - LOADING_SECONDS * len(image_seconds)
        count = min(images, int(left / max(sum(image_seconds), 1e-9)))
        stored = {each.images for each in self.state.test_scores}  # a stopped design continues with these images
        count = min(stored, default=count)
        return count if count >= min(MIN_IMAGES, images) else 0

    def _note(self, seconds: float) -> None:
        known = counted(len(self.state.test_scores), "network")
        self.state.decide(
            "ideas",
            "some ideas are compared only on validation images",
            f"{max(0.0, seconds):.0f} s could be used for it, too little to evaluate the compared networks on the test "
            f"images ({known} evaluated)",
        )
