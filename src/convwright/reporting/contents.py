"""All figures of the page, in the order in which they are read."""

from collections.abc import Iterator, Sequence

from convwright.display.figures import Figure
from convwright.reporting.calibration import calibration
from convwright.reporting.confusion import confusion
from convwright.reporting.curves import learning_curves_of
from convwright.reporting.differences import differences
from convwright.reporting.entry import Entry
from convwright.reporting.label_figures import label_figures
from convwright.reporting.mistakes import mistakes
from convwright.reporting.sections import explanations
from convwright.reporting.stages import stage_costs
from convwright.reporting.tradeoff import tradeoff


def figures(entries: Sequence[Entry]) -> Iterator[Figure]:
    """Yield every figure that these networks allow."""
    yield from tradeoff(entries)
    yield from differences(entries)
    if any(entry.run.metrics for entry in entries):
        yield learning_curves_of(entries)
    yield stage_costs(entries)
    yield from label_figures(entries)
    yield from confusion(entries)
    yield from mistakes(entries)
    yield from calibration(entries)
    yield from explanations(entries)
