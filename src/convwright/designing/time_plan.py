"""How the time of a design is divided among the race, the winner's training and the end."""

from dataclasses import dataclass

RACE_SHARE = 0.45
"""Share of the time before the end that the race takes."""
END_SHARE, MIN_END, MAX_END = 0.1, 15.0, 150.0
"""Share of a design's time that is kept for export and dossier, and its bounds in seconds."""
MAX_TEST_SHARE = 0.3
"""Largest share of a design's time that is kept for predictions beside that: few images are a coarse measurement."""
TEST_PASSES = 2
"""How often all test images are predicted in the end: for the accuracy, and for the figures of the dossier."""
PREDICTION_SHARE = 0.2
"""Share of the time kept for the end that predictions may take; more is kept where they take longer."""


@dataclass(frozen=True)
class TimePlan:
    """The division of a design's time."""

    seconds: float
    """Time of the whole design."""

    @property
    def race(self) -> float:
        """Seconds of the race."""
        return RACE_SHARE * (self.seconds - self.end())

    @property
    def winner(self) -> float:
        """Seconds that are planned for the training of the winner."""
        return (1 - RACE_SHARE) * (self.seconds - self.end())

    def end(self, image_seconds: float = 0.0, val_images: int = 0, test_images: int = 0) -> float:
        """Return the seconds that are kept for test, export and dossier.

        Args:
            image_seconds: Seconds in which the winner predicts an image; 0 while that is unknown.
            val_images: Number of validation images, which are predicted once when training has ended.
            test_images: Number of test images.
        """
        usual = min(MAX_END, max(MIN_END, END_SHARE * self.seconds))
        predictions = image_seconds * (val_images + TEST_PASSES * test_images)
        return usual + min(MAX_TEST_SHARE * self.seconds, max(0.0, predictions - PREDICTION_SHARE * usual))
