"""All figures of the page, in the order in which they are read."""

from collections.abc import Iterator, Sequence

from convwright.report.calibration import calibration
from convwright.report.confusion import confusion
from convwright.report.curves import learning_curves
from convwright.report.differences import differences
from convwright.report.entry import Entry
from convwright.report.figures import Figure
from convwright.report.mistakes import mistakes
from convwright.report.sections import explanations
from convwright.report.stages import stage_costs
from convwright.report.tradeoff import tradeoff


def figures(entries: Sequence[Entry]) -> Iterator[Figure]:
    """Yield every figure that these networks allow."""
    yield from tradeoff(entries)
    yield from differences(entries)
    if any(entry.run.metrics for entry in entries):
        yield learning_curves(entries)
    yield stage_costs(entries)
    yield from confusion(entries)
    yield from mistakes(entries)
    yield from calibration(entries)
    yield from explanations(entries)
