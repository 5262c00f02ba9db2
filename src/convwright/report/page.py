"""The page: one HTML file with everything in it, made from a template."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from convwright.arch.diagram import diagram
from convwright.errors import UsageError
from convwright.files import write_text
from convwright.report import wording
from convwright.report.entry import Entry
from convwright.report.figures import colour, figures, glyph


def write_page(path: Path, title: str, entries: Sequence[Entry], *, intro: str = "") -> None:
    """Write one self-contained page that compares these networks, whole or not at all."""
    if not entries:
        raise UsageError("a report needs at least one trained run")
    environment = Environment(
        loader=PackageLoader("convwright.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"plot_json": _plot_json, "data_name": wording.data_name}
    page = environment.get_template("page.html.j2").render(
        title=title,
        summary=wording.summary(entries),
        intro=intro,
        networks=[_network(index, entry) for index, entry in enumerate(entries)],
        figures=list(figures(entries)),
        versions=_versions(entries),
        plotly=Markup(get_plotlyjs()),
    )
    write_text(path, page)


def _network(index: int, entry: Entry) -> dict[str, Any]:
    """Return what the template says of one network."""
    cost, path = entry.cost, entry.run.path
    return {
        "entry": entry,
        "anchor": f"network-{index + 1}",
        "colour": colour(index),
        "glyph": glyph(index),
        "accuracy": wording.percent(entry.accuracy),
        "interval": wording.interval(entry.interval),
        "params": wording.count(cost.params),
        "macs": wording.count(cost.macs),
        "memory": wording.size(cost.peak_bytes()),
        "time": wording.duration(entry.seconds) if entry.seconds else "–",
        "rate": wording.rate(entry.images_per_second) if entry.images_per_second else "–",
        "diagram": Markup(diagram(entry.run.network)),
        "command": shlex.join(["convwright", "train", "--config", str(path / "config.yaml"), "--out", f"{path}-again"]),
        "config": entry.run.config.to_yaml(),
    }


def _versions(entries: Sequence[Entry]) -> str:
    """Return the versions that the runs were made with, such as "convwright 0.1.0, torch 2.6.0"."""
    made_with = [entry.run.summary["versions"] for entry in entries if entry.run.finished]
    pairs = dict.fromkeys(f"{name} {version}" for versions in made_with for name, version in versions.items())
    return ", ".join(pairs)


def _plot_json(plot: go.Figure) -> Markup:
    """Return a plot as JSON that can stand in a script element, whatever its texts hold."""
    return Markup(plot.to_json().replace("<", "\\u003c"))
