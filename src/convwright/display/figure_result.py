"""Results with figures: shown below their text in notebooks, and available as Plotly figures."""

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from convwright.display.result import STYLE, Result

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
        from convwright.display.plotly_figures import figures_html

        shown = "".join(block.to_html() for block in self.blocks())
        return f'{STYLE}<div class="convwright">{shown}{figures_html(self.figures())}</div>'

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
