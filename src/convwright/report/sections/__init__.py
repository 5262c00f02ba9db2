"""What `convwright.explain` finds in the networks, each as a figure where a network allows it."""

from collections.abc import Iterator, Sequence

from convwright.report.entry import Entry
from convwright.report.figure import Figure


def explanations(entries: Sequence[Entry]) -> Iterator[Figure]:
    """Yield a figure for each explanation that some of these networks allow."""
    yield from ()
