"""How the time of a design is divided among the race, the winner's training and the end."""

from dataclasses import dataclass

RACE_SHARE = 0.45
"""Share of the time before the end that the race takes."""
END_SHARE, MIN_END, MAX_END = 0.1, 15.0, 150.0
"""Share of a design's time that is planned for its end before anything of that is measured, and bounds in seconds."""
MAX_END_SHARE = 0.4
"""Largest share of a design's time that is kept for its end."""
TEST_PASSES = 2
"""How often all test images are predicted in the end: for the accuracy, and for the figures of the dossier."""
DOSSIER_FACTOR = 0.4
"""Time of the dossier without its predictions, divided by the time of an export without its predictions."""
INT8_FACTOR, INT8_SHARE = 1.6, 0.08
"""Seconds of trying a file in 8 bits, as a factor of those of a file in floats; time is kept for that if it takes no
more than this share of the design's."""
MARGIN, MARGIN_SECONDS = 0.1, 0.5
"""What is kept beside the time that is needed: a share of it, and seconds."""


@dataclass(frozen=True)
class EndCosts:
    """What the end of a design needs, from what has been measured in it."""

    image_seconds: float
    """Seconds in which the winner predicts an image."""
    val_images: int
    """Number of validation images, which are predicted once when training has ended."""
    test_images: int
    export_seconds: float = 0.0
    """Seconds in which a file of the winner in floats is written and verified; 0 where files are not exported."""
    dossier_seconds: float = 0.0
    """Seconds of the dossier beside its predictions of the test images."""
    opening_seconds: float = 0.0
    """Seconds in which all images are opened again and compared with those of the beginning."""
    int8: bool = False
    """Whether the engine that serves the network runs files in 8 bits."""

    @property
    def seconds(self) -> float:
        """Seconds of all that a design does in any case."""
        predictions = self.image_seconds * (self.val_images + TEST_PASSES * self.test_images)
        return self.opening_seconds + predictions + self.export_seconds + self.dossier_seconds

    @property
    def int8_seconds(self) -> float:
        """Seconds of trying a file in 8 bits, with its test; 0 where the engine does not run such files."""
        if not self.int8:
            return 0.0
        return INT8_FACTOR * self.export_seconds + self.image_seconds * self.test_images


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

    def end(self, costs: EndCosts | None = None, slowdown: float = 1.0) -> float:
        """Return the seconds that are kept for test, export and dossier.

        Args:
            costs: What they need, as measured in this design; None while that is unknown.
            slowdown: Factor by which the machine has become slower since that was measured; below 1 if it is faster.
        """
        if costs is None:
            return min(MAX_END, max(MIN_END, END_SHARE * self.seconds))
        needed = costs.seconds
        if costs.int8_seconds <= INT8_SHARE * self.seconds:
            needed += costs.int8_seconds
        kept = MARGIN_SECONDS + (1 + MARGIN) * slowdown * needed
        return min(MAX_END_SHARE * self.seconds, kept)
