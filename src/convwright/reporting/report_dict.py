"""A report as values that JSON can hold."""

import math
from typing import TYPE_CHECKING, Any

from convwright.reporting.entry import Entry

if TYPE_CHECKING:
    from convwright.reporting.report import Report


def report_dict(report: "Report") -> dict[str, object]:
    """Return all content of a report; numbers that are not finite are None."""
    found: dict[str, object] = _finite(
        {
            "title": report.title,
            "summary": report.summary,
            "notes": list(report.notes),
            "networks": [_network(entry) for entry in report.entries],
            "figures": {
                figure.name: {
                    "title": figure.title,
                    "caption": figure.caption,
                    "findings": list(figure.findings),
                    "data": figure.facts,
                }
                for figure in report.figures
            },
        }
    )
    return found


def _finite(value: Any) -> Any:
    """Replace numbers that JSON cannot hold, such as the losses of a run that diverged."""
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _network(entry: Entry) -> dict[str, object]:
    run, cost, predictions = entry.run, entry.cost, entry.predictions
    measured = predictions or entry.label_predictions
    return {
        "title": entry.title,
        "run": str(run.path),
        "network": run.network.name,
        "data": entry.data or run.config.data,
        "finished": run.finished,
        "derived_from": run.summary.derived_from if run.finished else None,
        "split": entry.split,
        "images": entry.images,
        "map" if run.multi_label else "accuracy": entry.accuracy,
        "interval": list(entry.interval),
        "params": cost.params,
        "macs": cost.macs,
        "peak_bytes": cost.peak_bytes(),
        "latency_seconds": entry.latency and entry.latency.seconds,
        "latency_threads": entry.latency and entry.latency.threads,
        "latency_doubt": (entry.latency and entry.latency.doubt) or None,
        "train_seconds": entry.seconds,
        "images_per_second": entry.images_per_second,
        "curves": [row | {"images_seen": seen} for row, seen in zip(run.metrics, entry.images_seen, strict=True)],
        "stages": [{"stage": stage.name, "params": stage.params, "macs": stage.macs} for stage in cost.stages],
        "measures": measured and measured.measures.to_dict(run.classes),
        "overconfidence": predictions and predictions.overconfidence,
    }
