"""Reports: one self-contained HTML page about one trained network or several, readable without a network connection.

    >>> entries, notes = measure_runs([run, other])  # doctest: +SKIP
    >>> compose("Two families on digits", entries, notes=notes).save_html("report.html")  # doctest: +SKIP

`Entry` is one trained network with its measurements. `compose` computes the content of a report, which its methods
return as data, as Plotly figures and as a page.
"""

from convwright.reporting.entry import Entry
from convwright.reporting.measuring import measure_runs
from convwright.reporting.report import Report, compose

__all__ = ["Entry", "Report", "compose", "measure_runs"]
