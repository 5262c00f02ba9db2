"""The report: one self-contained HTML page for one trained run or several, to be read without a network.

    >>> entries = [measuring.measured(run, data, "DenseNet-BC"), ...]
    >>> write(Path("report.html"), compose("Three families on digits", entries))

`Entry` is one trained network and what was measured of it; `compose` works out what the page says, `write` sets it, and
`facts` gives it as data. The figures are Plotly's, whose JavaScript travels in the page; sizes, and colours for light,
dark and paper, are set by the reader.
"""

from convwright.report.entry import Entry
from convwright.report.facts import facts
from convwright.report.page import compose, write, write_page

__all__ = ["Entry", "compose", "facts", "write", "write_page"]
