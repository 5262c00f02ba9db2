"""The report: one self-contained HTML page for several trained runs, to be read without a network.

    >>> write_page(Path("report.html"), "Three families on digits", [Entry("DenseNet-BC", run, ...), ...])

`Entry` is one trained network and its measured accuracy, `write_page` sets them on a page. The figures are
Plotly's, whose JavaScript travels in the page; sizes, and colours for light, dark and paper, are set by the reader.
"""

from convwright.report.entry import Entry
from convwright.report.page import write_page

__all__ = ["Entry", "write_page"]
