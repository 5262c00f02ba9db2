"""What `convwright.explain` finds in the networks, each as a figure where a network allows it."""

from collections.abc import Iterator, Sequence

from convwright.display.figures import Figure
from convwright.reporting.entry import Entry
from convwright.reporting.sections.cam import cam_figures
from convwright.reporting.sections.excitation import excitation_figures
from convwright.reporting.sections.reuse import reuse_figures


def explanations(entries: Sequence[Entry]) -> Iterator[Figure]:
    """Yield the figures that some of these networks allow: what they look at, feature reuse, excitations."""
    yield from cam_figures(entries)
    yield from reuse_figures(entries)
    yield from excitation_figures(entries)
