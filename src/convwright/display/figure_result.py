"""Results with figures: shown below their text in notebooks, and available as Plotly figures."""

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from convwright.display.result import STYLE, Block, Result

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from convwright.display.figures import Figure


class FigureResult(Result):
    """A result with figures."""

    @property
    @abstractmethod
    def title(self) -> str:
        """Heading of a page that shows the result."""

    @property
    @abstractmethod
    def summary(self) -> str:
        """The result in one or two sentences."""

    @abstractmethod
    def figures(self) -> "Sequence[Figure]":
        """Return the figures: plots and pictures with captions."""

    def figure(self) -> "go.Figure":
        """Return the first figure as a Plotly figure, which notebooks draw and `write_html` or `write_image` saves."""
        from convwright.display.plotly_figures import as_plotly

        return as_plotly(self.figures()[0])

    def _repr_html_(self) -> str:
        shown = "".join(block.to_html() for block in self.blocks())
        if figures := self.figures():
            from convwright.display.plotly_figures import figures_html

            shown += figures_html(figures)
        return f'{STYLE}<div class="convwright">{shown}</div>'

    def save_html(self, path: str | Path) -> None:
        """Write what a notebook shows as one HTML file that needs no network.

        Args:
            path: The file; it is replaced if it exists.
        """
        from convwright.display.pages import write_figures

        write_figures(
            Path(path),
            title=self.title,
            summary=self.summary,
            figures=self.figures(),
            content="".join(block.to_html() for block in self.blocks()),
        )


class JoinedResult(FigureResult):
    """Results shown one after the other, under the title of the first.

    Args:
        parts: The results; of a member that several have, the last counts.
    """

    def __init__(self, *parts: FigureResult) -> None:
        self.parts = parts

    @property
    def title(self) -> str:
        """Title of the first result."""
        return self.parts[0].title

    @property
    def summary(self) -> str:
        """Summary of the first result."""
        return self.parts[0].summary

    def figures(self) -> "Sequence[Figure]":
        """Return the figures of all results."""
        return [figure for part in self.parts for figure in part.figures()]

    def to_dict(self) -> dict[str, object]:
        """Return the members of all results together."""
        return {key: value for part in self.parts for key, value in part.to_dict().items()}

    def blocks(self) -> Iterable[Block]:
        """Yield what all results show."""
        for part in self.parts:
            yield from part.blocks()
