"""A report on one trained network or several: as text, as data, in notebooks and as a page."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from convwright.display.figures import Figure
from convwright.display.result import Block, Html, Lines, Paragraph, Result, Table
from convwright.display.wording import count, duration, interval, percent
from convwright.errors import UsageError
from convwright.printable import printable
from convwright.reporting import wording
from convwright.reporting.contents import figures as all_figures
from convwright.reporting.entry import Entry
from convwright.reporting.report_dict import report_dict

if TYPE_CHECKING:
    import plotly.graph_objects as go


@dataclass(frozen=True)
class Report(Result):
    """Accuracy, cost, learning curves, errors and explanations of trained networks."""

    title: str
    summary: str
    """The result in a few sentences."""
    intro: str
    notes: tuple[str, ...]
    """Restrictions of the figures' meaning, one sentence each."""
    entries: tuple[Entry, ...]
    """The networks with their measurements."""
    figures: tuple[Figure, ...]
    page: Path | None = None
    """The file that the report was written to."""

    def figure(self, name: str = "") -> "go.Figure":
        """Return a figure of the report as a Plotly figure.

        Args:
            name: Name of the figure, a key of `to_dict()["figures"]`; by default the first figure, which is accuracy
                against cost for several networks.

        Raises:
            UsageError: The report has no figure of this name, or it has only pictures.
        """
        from convwright.display.plotly_figures import as_plotly

        drawn = {figure.name: figure for figure in self.figures if figure.panels}
        if (name or next(iter(drawn))) not in drawn:
            raise UsageError(f"the report has no figure {name!r}; there are {', '.join(drawn)}")
        return as_plotly(drawn[name or next(iter(drawn))])

    def to_dict(self) -> dict[str, object]:
        """Return the content of the page: summary, notes, networks and figures."""
        return report_dict(self)

    def blocks(self) -> Iterable[Block]:
        """Yield the summary, a table of the networks, the notes and, in notebooks, all figures."""
        yield Paragraph(self.summary.replace("\xa0", " "))
        yield _table(self.entries)
        yield from (Paragraph(printable(line).replace("\xa0", " ")) for line in self.notes)
        if self.page is not None:
            yield Lines(f"page: {printable(self.page)}")
        yield Html(partial(_figures_html, self.figures))

    def save_html(self, path: str | Path) -> None:
        """Write the report as one self-contained page, completely or not at all.

        Args:
            path: The file; it is replaced if it exists.
        """
        from convwright.reporting.page import write_report_page

        write_report_page(Path(path), self)


def compose(
    title: str | None,
    entries: Sequence[Entry],
    *,
    intro: str = "",
    notes: Sequence[str] = (),
    page: Path | None = None,
) -> Report:
    """Compute the content of a report.

    Args:
        title: Heading; None: named after the networks and their data.
        entries: The networks with their measurements.
        intro: Paragraph below the summary.
        notes: Restrictions of the figures' meaning, one sentence each.
        page: The file that the report is written to.

    Raises:
        UsageError: There are no networks.
    """
    if not entries:
        raise UsageError("a report needs at least one trained run")
    if not wording.comparable(entries):
        plural = wording.PLURALS[entries[0].measure].capitalize()
        notes = [*notes, wording.NOT_COMPARABLE.replace("Accuracies", plural)]
    figures = tuple(all_figures(entries))
    title = title or wording.title(entries)
    return Report(title, wording.summary(entries), intro, tuple(notes), tuple(entries), figures, page)


def _table(entries: Sequence[Entry]) -> Table:
    timed = any(entry.latency for entry in entries)
    measure = "mAP" if entries[0].run.multi_label else "accuracy"
    titles = ("network", measure, "95 % interval", "parameters", "MACs", *(["latency"] * timed), "training")
    rows = [tuple(cell.replace("\xa0", " ") for cell in _cells(entry, timed)) for entry in entries]
    return Table(titles, rows)


def _cells(entry: Entry, timed: bool) -> tuple[str, ...]:
    latency = [wording.latency(entry)] * timed
    return (
        entry.title,
        percent(entry.accuracy),
        interval(entry.interval),
        count(entry.cost.params),
        count(entry.cost.macs),
        *latency,
        duration(entry.seconds) if entry.seconds else "-",
    )


def _figures_html(figures: Sequence[Figure]) -> str:
    from convwright.display.plotly_figures import figures_html

    return figures_html(figures)
