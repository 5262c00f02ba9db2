"""The page of a report: one HTML file with everything in it."""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup

from convwright.arch.diagram import diagram
from convwright.display.figures import Figure, colour, glyph
from convwright.display.pages import write_html
from convwright.display.wording import count, counted, duration, interval, listed, percent, rate, size
from convwright.places import without_folders
from convwright.reporting import wording
from convwright.reporting.entry import Entry

if TYPE_CHECKING:
    from convwright.reporting.report import Report


_INTERVALS = {
    "accuracy": "Intervals are Wilson's.",
    "mean average precision": "mAP is the mean average precision over the classes; its intervals are by bootstrap over "
    "images.",
}


def write_report_page(path: Path, report: "Report") -> None:
    """Write one self-contained page, completely or not at all."""
    entries = report.entries
    write_html(
        path,
        "report.html.j2",
        package="convwright.reporting",
        title=report.title,
        summary=report.summary,
        report=report,
        contents=_contents(report.figures),
        columns=_columns(entries),
        latency_note=_latency_note(entries),
        intervals_note=_INTERVALS[entries[0].measure],
        networks=[_network(index, entry, apart=not wording.comparable(entries)) for index, entry in enumerate(entries)],
        versions=_versions(entries),
        counted=counted,
        paths=_paths(entries),
    )


def _paths(entries: Sequence[Entry]) -> dict[str, str]:
    """Return absolute paths in runs and their configurations, and what the page shows instead: their last parts."""
    found: dict[str, str] = {}
    for entry in entries:
        found |= {str(entry.run.path): entry.run.path.name, f"{entry.run.path.parent}/": ""}
        texts = [text for text in _texts(entry.run.config.model_dump(mode="json")) if Path(text).is_absolute()]
        found |= {text: without_folders(text) for text in [*filter(None, [entry.data]), *texts]}
    return found


def _texts(value: object) -> Iterator[str]:
    """Yield the texts in a value of JSON."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _texts(each)


def _contents(found: Sequence[Figure]) -> list[tuple[Figure, str]]:
    """Return each figure with its name in the list of contents: its title up to the colon, if that is unique."""
    short = [figure.title.partition(":")[0] for figure in found]
    return [
        (figure, label if short.count(label) == 1 else figure.title) for figure, label in zip(found, short, strict=True)
    ]


def _columns(entries: Sequence[Entry]) -> list[tuple[str, str, str]]:
    """Return the table's columns: a key of `_network`'s cells, a heading and its unit."""
    columns = [
        ("accuracy", "mAP" if entries[0].run.multi_label else "Accuracy", "95\u00a0% interval"),
        ("params", "Parameters", ""),
        ("macs", "MACs", "an image"),
        ("latency", "Latency", "an image"),
        ("memory", "Peak memory", "activations"),
        ("calibration", "Calibration", "error"),
        ("time", "Training", "time"),
        ("rate", "Speed", "images/s"),
    ]
    left_out = {"latency"} if not any(entry.latency for entry in entries) else set()
    left_out |= {"calibration"} if not any(entry.predictions for entry in entries) else set()
    return [column for column in columns if column[0] not in left_out]


@dataclass(frozen=True)
class _Network:
    """What the template shows of one network."""

    entry: Entry
    number: int
    anchor: str
    colour: str
    glyph: str
    below: str
    """Line below the name: the images it was measured on, where networks differ in that."""
    cells: dict[str, str]
    """Cells of the table by column."""
    interval: str
    diagram: Markup
    data: str
    derived: str | None
    command: str
    config: str


def _network(index: int, entry: Entry, *, apart: bool) -> _Network:
    path = entry.run.path
    return _Network(
        entry=entry,
        number=index,
        anchor=f"network-{index + 1}",
        colour=colour(index),
        glyph=glyph(index),
        below=wording.measured_on(entry) if apart else "",
        cells=_cells(entry),
        interval=interval(entry.interval),
        diagram=Markup(diagram(entry.run.network)),
        data=wording.data_name(entry),
        derived=wording.derived(entry),
        command=shlex.join(["convwright", "train", "--config", str(path / "config.yaml"), "--out", f"{path}-again"]),
        config=entry.run.config.to_yaml(),
    )


def _cells(entry: Entry) -> dict[str, str]:
    cost, predictions = entry.cost, entry.predictions
    return {
        "accuracy": percent(entry.accuracy),
        "params": count(cost.params),
        "macs": count(cost.macs),
        "latency": wording.latency(entry),
        "memory": size(cost.peak_bytes()),
        "calibration": percent(predictions.measures.calibration_error) if predictions else "–",
        "time": duration(entry.seconds) if entry.seconds else "–",
        "rate": rate(entry.images_per_second) if entry.images_per_second else "–",
    }


def _latency_note(entries: Sequence[Entry]) -> str:
    threads = sorted({entry.latency.threads for entry in entries if entry.latency})
    if not threads:
        return ""
    doubtful = any(entry.latency.doubt for entry in entries if entry.latency)
    many = counted(threads[0], "thread") if len(threads) == 1 else f"{listed(map(str, threads))} threads"
    return (
        "Latency is the median time of one image through the network, in 32-bit floats on the processor of the "
        f"machine that made this page, with {many} of PyTorch."
        + (" Where the machine was busy, it is the time of the fastest run." if doubtful else "")
    )


def _versions(entries: Sequence[Entry]) -> str:
    """Return the versions that the runs were made with, such as "convwright 0.1.0, torch 2.6.0"."""
    made_with = [entry.run.summary.versions for entry in entries if entry.run.finished]
    pairs = dict.fromkeys(f"{name} {version}" for versions in made_with for name, version in versions.items())
    return ", ".join(pairs)
