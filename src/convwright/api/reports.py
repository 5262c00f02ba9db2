"""Reports on trained networks, and the papers' claims beside our figures."""

from typing import TYPE_CHECKING

from convwright.errors import argument
from convwright.options import verb

if TYPE_CHECKING:
    from convwright.reproduction import Reproduction

__all__ = ["reproduce"]


@verb
def reproduce(paper: str | None = None) -> "Reproduction":
    """Compute the figures that the three papers print, as far as they need no training, and judge each claim.

    Args:
        paper: densenet, senet or efficientnet; all three by default.

    Returns:
        Every claim with the printed figure, ours and a verdict; `figure()` plots accuracy against cost.

    Raises:
        UsageError: There is no such paper.

    Example:
        >>> found = cw.reproduce("senet")
        >>> {verdict.value: count for verdict, count in found.counts.items()}
        {'equal': 12, 'explained': 16, 'not computable here': 3, 'not explained': 2}
    """
    from convwright.reproduction import PAPERS, reproduce_papers

    with argument("paper"):
        return reproduce_papers(PAPERS if paper is None else [paper.lower()])
