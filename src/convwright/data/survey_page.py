"""The page of a survey: counts, problems and a contact sheet, in one HTML file."""

from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from convwright.data.findings import Spread
from convwright.display.pages import write_html
from convwright.display.pictures import data_uri, is_small
from convwright.display.wording import counted, listed

if TYPE_CHECKING:
    import numpy as np

    from convwright.data.survey import Survey

PURPOSES = {"train": "training", "val": "validation", "test": "test"}
IN_NOTEBOOKS = 12
"""Most images of a class on the contact sheet of a notebook."""
CLASSES_IN_NOTEBOOKS = 20
SHEET = (
    '<div style="display:flex;gap:3px;align-items:center;margin:3px 0;flex-wrap:wrap">'
    '<span style="flex:0 0 8em;overflow:hidden;text-overflow:ellipsis">{}</span>{}</div>'
)


@dataclass(frozen=True)
class _Picture:
    uri: str
    pixelated: bool

    @classmethod
    def of(cls, pixels: "np.ndarray") -> "_Picture":
        return cls(data_uri(pixels), is_small(pixels))


@dataclass(frozen=True)
class _Row:
    """A class: its counts by split, and its images on the contact sheet."""

    name: str
    counts: list[str]
    share: float
    """Training images, in percent of the largest class."""
    images: list[_Picture]


def write_survey_page(path: Path, survey: "Survey") -> None:
    """Write one self-contained page, completely or not at all."""
    write_html(
        path,
        "survey.html.j2",
        package="convwright.data",
        title=Path(survey.name).name or survey.name,
        summary=_summary(survey, len(survey.problems)),
        plots=False,
        survey=survey,
        measures={name: _written(spread) for name, spread in survey.measures.items()},
        rows=_rows(survey),
    )


def contact_sheet(survey: "Survey") -> str:
    """Return training images of each class as HTML for a notebook."""
    rows, thumbnails = [], survey.thumbnails()
    for label, name in enumerate(survey.classes[:CLASSES_IN_NOTEBOOKS]):
        images = "".join(
            f'<img src="{picture.uri}" alt="" width="56" height="56" style="object-fit:cover'
            f'{";image-rendering:pixelated" if picture.pixelated else ""}">'
            for picture in map(_Picture.of, thumbnails[label][:IN_NOTEBOOKS])
        )
        rows.append(SHEET.format(escape(name), images))
    return "".join(rows)


def _summary(survey: "Survey", count: int) -> str:
    splits = listed([f"{len(survey.of(split)):,} {PURPOSES[split]}" for split in survey.splits])
    classes = counted(len(survey.classes), "class", "classes")
    found = {0: "No problems were found", 1: "One problem was found"}.get(count, f"{count} problems were found")
    return f"{counted(len(survey.images), 'image')} in {classes}: {splits} images. {found}."


def _written(spread: Spread) -> dict[str, str]:
    return {name: f"{value:.4g}" for name, value in asdict(spread).items()}


def _rows(survey: "Survey") -> list[_Row]:
    largest, thumbnails = max(1, *survey.counts["train"]), survey.thumbnails()
    return [
        _Row(
            name,
            [f"{survey.counts[split][label]:,}" for split in survey.splits],
            100 * survey.counts["train"][label] / largest,
            [_Picture.of(pixels) for pixels in thumbnails[label]],
        )
        for label, name in enumerate(survey.classes)
    ]
