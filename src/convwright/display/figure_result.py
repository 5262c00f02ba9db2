"""Results with figures: shown below their text in notebooks, and available as Plotly figures."""

from abc import abstractmethod
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from convwright.display.result import STYLE, Result
from convwright.files import write_text

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from convwright.display.figures import Figure

PAGE = (
    "<style>body{margin:0 auto;max-width:1100px;padding:1.5rem 1rem;font-family:system-ui,sans-serif;"
    "background:#fff;color:#1b1f24}.convwright{overflow-x:auto;font-size:15px}</style>"
)


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
        return self._html(offline=False)

    def save_html(self, path: str | Path) -> None:
        """Write what a notebook shows as one HTML file that needs no network.

        Args:
            path: The file; it is replaced if it exists.
        """
        page = f'<!doctype html><meta charset="utf-8"><title>{escape(self.title)}</title>{PAGE}'
        write_text(Path(path), f"{page}<h1>{escape(self.title)}</h1>{self._html(offline=True)}\n")

    def _html(self, *, offline: bool) -> str:
        from convwright.display.plotly_figures import figures_html

        shown = "".join(block.to_html() for block in self.blocks())
        return f'{STYLE}<div class="convwright">{shown}{figures_html(self.figures(), offline=offline)}</div>'
