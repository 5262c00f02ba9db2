"""The page of a data set: counts, problems and a contact sheet, in one HTML file."""

from pathlib import Path
from typing import Any

from convwright.data.findings import Spread, as_json, measures, problems, suggested_resolution
from convwright.data.survey import Survey
from convwright.display.pages import write_html
from convwright.reporting.pictures import data_uri, is_small


def write_data_page(path: Path, survey: Survey, batch_size: int) -> None:
    """Write one self-contained page, whole or not at all."""
    found = problems(survey)
    write_html(
        path,
        "data.html.j2",
        package="convwright.reporting",
        plots=False,
        title=Path(survey.name).name or survey.name,
        survey=survey,
        summary=_summary(survey, len(found)),
        problems=found,
        facts=as_json(survey),
        measures={name: _written(spread) for name, spread in measures(survey).items()},
        rows=[_row(survey, label) for label in range(len(survey.classes))],
        resolution=suggested_resolution(survey),
        batch_size=batch_size,
    )


def _summary(survey: Survey, count: int) -> str:
    splits = ", ".join(f"{sum(survey.counts[split]):,} to {_purpose(split)}" for split in survey.splits)
    found = {0: "No problems were found", 1: "One problem was found"}.get(count, f"{count} problems were found")
    return f"{len(survey.images):,} images in {len(survey.classes):,} classes: {splits}. {found}."


def _purpose(split: str) -> str:
    return {"train": "train", "val": "validate", "test": "test"}[split]


def _written(spread: Spread) -> dict[str, str]:
    return {name: f"{value:.4g}" for name, value in vars(spread).items()}


def _row(survey: Survey, label: int) -> dict[str, Any]:
    largest = max(1, max(survey.counts["train"]))
    shown = [image.thumbnail for image in survey.images if image.label == label and image.thumbnail is not None]
    return {
        "name": survey.classes[label],
        "counts": [f"{survey.counts[split][label]:,}" for split in survey.splits],
        "share": 100 * survey.counts["train"][label] / largest,
        "images": [{"uri": data_uri(pixels), "pixelated": is_small(pixels)} for pixels in shown],
    }
