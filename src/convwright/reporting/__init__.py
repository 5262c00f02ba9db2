"""Reports: one self-contained HTML page about one trained network or several, readable without a network connection.

`Entry` is one trained network with its measurements, and `measure_runs` measures runs. `compose` computes the
content of a report, which its methods return as data, as Plotly figures and as a page.
"""

from convwright.reporting.entry import Entry
from convwright.reporting.measuring import measure_runs
from convwright.reporting.report import Report, compose

__all__ = ["Entry", "Report", "compose", "measure_runs"]
