"""The claims of papers with our figures, as a table, as data, as a plot and as a page."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from convwright.display.result import Block, Paragraph, Result, Table
from convwright.display.table import Row
from convwright.errors import UsageError
from convwright.reproduction.claim import Outcome, PaperClaims, Verdict, judge, tally

if TYPE_CHECKING:
    import plotly.graph_objects as go

PAPERS = ("densenet", "senet", "efficientnet")


@dataclass(frozen=True)
class PaperOutcomes:
    """One paper's claims, judged."""

    key: str
    """`densenet`, `senet` or `efficientnet`."""
    title: str
    outcomes: tuple[Outcome, ...]


@dataclass(frozen=True)
class Reproduction(Result):
    """The claims of one or several papers, judged."""

    papers: tuple[PaperOutcomes, ...]

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """The outcomes of all papers."""
        return tuple(outcome for paper in self.papers for outcome in paper.outcomes)

    @property
    def counts(self) -> dict[Verdict, int]:
        """Outcomes by verdict, those that occur."""
        return tally(self.outcomes)

    @property
    def wrong(self) -> tuple[Outcome, ...]:
        """Outcomes that differ from the printed figure without an explanation: errors of ours."""
        return tuple(outcome for outcome in self.outcomes if outcome.verdict is Verdict.WRONG)

    def to_dict(self) -> dict[str, object]:
        """Return every claim with its verdict under `claims`, in the same list as `--json` prints."""
        return {"claims": self.json_value()}

    def json_value(self) -> object:
        """Return a list of every claim with its verdict."""
        return [_claim_dict(paper.key, outcome) for paper in self.papers for outcome in paper.outcomes]

    def blocks(self) -> Iterable[Block]:
        """Yield a table of claims by paper, and the verdicts counted."""
        rows: list[Row] = []
        for paper in self.papers:
            rows += [paper.title, *map(_cells, paper.outcomes)]
        yield Table(("claim", "where", "printed", "ours", "verdict", ""), rows, left=2)
        counts = ", ".join(f"{count} {verdict.value}" for verdict, count in self.counts.items())
        yield Paragraph(f"{len(self.outcomes)} claims: {counts}")

    def figure(self) -> "go.Figure":
        """Return ImageNet accuracy against multiply-adds and parameters (EfficientNet, Figures 1 and 5)."""
        from convwright.display.plotly_figures import as_plotly
        from convwright.reproduction.page import accuracy_figure

        return as_plotly(accuracy_figure())

    def save_html(self, path: str | Path) -> None:
        """Write a page with every claim and the papers' plots as one HTML file.

        Args:
            path: The file; it is replaced if it exists.
        """
        from convwright.reproduction.page import write_reproduction_page

        write_reproduction_page(Path(path), self)


def reproduce_papers(papers: Sequence[str] = PAPERS) -> Reproduction:
    """Compute the figures of papers and judge their claims.

    Args:
        papers: Names, of `PAPERS`.

    Raises:
        UsageError: There is no such paper.
    """
    return Reproduction(tuple(outcomes_of(paper) for paper in papers))


@cache
def outcomes_of(paper: str) -> PaperOutcomes:
    """Return a paper's claims, judged.

    Raises:
        UsageError: There is no such paper.
    """
    if paper not in PAPERS:
        raise UsageError(f"no paper {paper!r}; there are {', '.join(PAPERS)}")
    found: PaperClaims = import_module(f"convwright.reproduction.{paper}").CLAIMS
    return PaperOutcomes(found.key, found.title, tuple(map(judge, found.claims)))


def _cells(outcome: Outcome) -> tuple[str, ...]:
    claim = outcome.claim
    unit = f" {claim.unit}" if claim.unit else ""
    return (
        f"{claim.subject}: {claim.quantity}",
        claim.place,
        f"{claim.printed}{unit}" if claim.printed else "-",
        f"{outcome.computed}{unit}" if outcome.computed else "-",
        outcome.verdict.value,
        outcome.why,
    )


def _claim_dict(paper: str, outcome: Outcome) -> dict[str, object]:
    claim = outcome.claim
    return {
        "paper": paper,
        "place": claim.place,
        "subject": claim.subject,
        "quantity": claim.quantity,
        "unit": claim.unit,
        "printed": claim.printed or None,
        "computed": outcome.value,
        "rounded": outcome.computed or None,
        "counted_otherwise": outcome.instead or None,
        "verdict": outcome.verdict.value,
        "why": outcome.why or None,
    }
