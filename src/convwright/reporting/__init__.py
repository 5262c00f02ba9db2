"""The report: one self-contained HTML page for one trained run or several, to be read without a network.

    >>> entries = [measuring.measured(run, data, "DenseNet-BC"), ...]
    >>> write(Path("report.html"), compose("Three families on digits", entries))

`Entry` is one trained network and its measurements. `compose` computes the page's content, `write` renders it, and
`convwright.reporting.facts.facts` returns it as data. The figures are Plotly's, whose JavaScript is part of the page;
the reader's browser chooses sizes, and colours for light, dark and paper.
"""

from convwright.reporting.entry import Entry
from convwright.reporting.page import compose, write, write_page

__all__ = ["Entry", "compose", "write", "write_page"]
