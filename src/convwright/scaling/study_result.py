"""Results of studies, which show themselves: a ranking, a verdict, leads of compound scaling, and a figure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from convwright.arch.resolution import format_resolution
from convwright.display.figure_result import FigureResult
from convwright.display.result import Block, Lines, Paragraph, Table
from convwright.printable import printable
from convwright.scaling.findings import Findings
from convwright.scaling.ranking import RankedNetwork
from convwright.scaling.rules import Compound
from convwright.units import human

if TYPE_CHECKING:
    from convwright.display.figures import Figure
    from convwright.stats.means import Mean

SHOWN = 12
"""Most networks that the text lists."""


@dataclass(frozen=True)
class StudyResult(FigureResult):
    """What a study found."""

    findings: Findings
    path: Path
    """File that holds the findings as JSON, in the study's folder."""

    @property
    def networks(self) -> tuple[RankedNetwork, ...]:
        """The networks: those trained longest first, then by accuracy."""
        return self.findings.networks

    @property
    def verdict(self) -> str:
        """Sentence on which network is best, and which are statistically indistinguishable from it."""
        return self.findings.verdict

    @property
    def title(self) -> str:
        """Heading of the study's page."""
        from convwright.scaling.page import page_title

        return page_title(self.findings)

    @property
    def summary(self) -> str:
        """The verdict."""
        return self.findings.verdict

    def figures(self) -> "Sequence[Figure]":
        """Return the ranking of a search, or a family's accuracy against multiply-adds and parameters."""
        from convwright.scaling.figures import study_figure

        return [study_figure(self.findings)]

    def table(self, most: int | None = None) -> Table:
        """Return a table of the networks with their accuracies and intervals.

        Args:
            most: Most networks to list; all by default.
        """
        name = "network, phi" if self.findings.is_family else "alpha, beta, gamma"
        accuracy = f"{self.findings.split} {'accuracy' if self.findings.measure == 'accuracy' else 'mAP'}"
        titles = (name, "MACs", "params", "px", "epochs", "seeds", accuracy, "95 %", "")
        return Table(titles, [_row(each) for each in self.networks[:most]])

    def to_dict(self) -> dict[str, object]:
        """Return everything that the study found, with every training."""
        return self.findings.to_dict()

    def blocks(self) -> Iterable[Block]:
        """Yield the ranking, the verdict, and the leads of compound scaling."""
        yield self.table(SHOWN)
        yield Paragraph(self.verdict)
        if leads := self.findings.overall:
            titles = ("compound scaling's lead over", "points", "95 %", "seeds", "")
            yield Table(titles, [_lead(rule, lead) for rule, lead in leads.items()])
        yield Lines(f"results: {printable(self.path)}")

    def save_html(self, path: str | Path) -> None:
        """Write the study's page: figure, all networks, and comparisons.

        Args:
            path: The file; it is replaced if it exists.
        """
        from convwright.scaling.page import write_scaling_page

        write_scaling_page(Path(path), self.findings)


class SearchResult(StudyResult):
    """What a search for alpha, beta and gamma found."""

    @property
    def best(self) -> Compound:
        """Coefficients of the best network, for `coefficients` of `family`."""
        coordinates = self.networks[0].coordinates
        return Compound(coordinates["alpha"], coordinates["beta"], coordinates["gamma"])


class FamilyResult(StudyResult):
    """What the training of a family found: accuracy against multiply-adds, by rule."""


def _row(network: RankedNetwork) -> tuple[str, ...]:
    mean = network.mean
    return (
        network.name,
        human(network.macs),
        human(network.params),
        format_resolution(network.resolution),
        f"{network.epochs:.3g}",
        str(mean.count),
        f"{mean.value:.2%}",
        "-" if mean.margin is None else f"± {100 * mean.margin:.2f}",
        f"{network.diverged} diverged" if network.diverged else "",
    )


def _lead(rule: str, lead: "Mean") -> tuple[str, ...]:
    half = "-" if lead.margin is None else f"± {100 * lead.margin:.2f}"
    return rule, f"{100 * lead.value:+.2f}", half, str(lead.count), ""
