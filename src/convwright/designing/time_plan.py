"""How the time of a design is divided among the race, the winner's training and the end."""

from dataclasses import dataclass

RACE_SHARE = 0.45
"""Share of the time before the end that the race takes."""
END_SHARE, MIN_END, MAX_END = 0.1, 15.0, 150.0
"""Share of a design's time that is kept for export and dossier, and its bounds in seconds."""
TEST_PASSES = 2.0
"""How often all test images are predicted in the end: for the accuracy, and for the figures of the dossier."""
INCLUDED_TEST_SHARE = 0.2
"""Share of the time kept for the end that predictions of the test images may take without more being kept."""


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

    def end(self, test_seconds: float = 0.0) -> float:
        """Return the seconds that are kept for test, export and dossier.

        Args:
            test_seconds: Seconds in which the winner predicts all test images once; 0 while that is unknown.
        """
        usual = min(MAX_END, max(MIN_END, END_SHARE * self.seconds))
        return usual + max(0.0, TEST_PASSES * test_seconds - INCLUDED_TEST_SHARE * usual)
