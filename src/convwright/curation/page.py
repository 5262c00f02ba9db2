"""The page of a curation: each suspect with its class and the proposed class, to confirm or dismiss."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from markupsafe import Markup

from convwright import json_text
from convwright.csv_text import FORMULA_STARTS
from convwright.curation.fixed import COLUMNS
from convwright.curation.suspects import KINDS, Kind, Suspect
from convwright.display.pages import environment, write_html
from convwright.display.pictures import as_pixels, data_uri, is_small
from convwright.display.wording import counted, listed
from convwright.printable import printable

if TYPE_CHECKING:
    from convwright.curation.result import Curation

PACKAGE = "convwright.curation"
MOST = 400
"""Most suspects of a kind on the page, the surest first; more would make it too large to open."""
READ = 64
"""Images that are read at a time."""
INTRODUCTIONS: dict[Kind, str] = {
    "duplicate": "Two images that show the same. Across splits, a network is tested on what it was trained on.",
    "label": "Models that were not trained on these images predict another class.",
    "unlike": "Most of the most similar images have other classes.",
    "outlier": "No other image is similar. It may not belong to the data at all, or be rare and valuable.",
}


@dataclass(frozen=True)
class SuspectView:
    """A suspect as the page shows it."""

    suspect: Suspect
    uri: str
    pixelated: bool
    duplicate_uri: str
    """Picture of the image that it is a duplicate of; empty where it is none."""

    @property
    def reason(self) -> str:
        """Why the image is suspect, as a sentence."""
        text = "; ".join(map(printable, self.suspect.reasons))
        return text[:1].upper() + text[1:] + "."


@dataclass(frozen=True)
class Section:
    """The suspects of a kind."""

    kind: Kind
    title: str
    introduction: str
    views: list[SuspectView]
    left_out: int
    """Suspects of the kind that the page does not show."""


def write_curation_page(path: Path, curation: "Curation") -> None:
    """Write one self-contained page, completely or not at all."""
    sections = [
        Section(
            kind,
            title[:1].upper() + title[1:],
            INTRODUCTIONS[kind],
            _views(curation, found[:MOST]),
            max(0, len(found) - MOST),
        )
        for kind, title in KINDS.items()
        if (found := curation.of(kind))
    ]
    values = {
        "classes": list(curation.pool.data.classes),
        "several": curation.pool.images.multi_label,
        "columns": list(COLUMNS),
        "formulas": FORMULA_STARTS,
        "key": f"convwright-{curation.pool.data.fingerprint}",
    }
    script = environment(PACKAGE).get_template("curation.js").render(values=Markup(_in_script(values)))
    write_html(
        path,
        "curation.html.j2",
        package=PACKAGE,
        title=f"Curation of {Path(curation.name).name or curation.name}",
        summary=_summary(curation),
        plots=False,
        script=Markup(script),
        sections=sections,
        curation=curation,
        several=curation.pool.images.multi_label,
    )


def _views(curation: "Curation", suspects: Sequence[Suspect]) -> list[SuspectView]:
    wanted = [each.position for each in suspects] + [each.duplicate_position for each in suspects if each.duplicate_of]
    pictures: dict[int, tuple[str, bool]] = {}
    for start in range(0, len(wanted), READ):
        some = wanted[start : start + READ]
        for position, image in zip(some, curation.pool.images.take(torch.tensor(some)), strict=True):
            pixels = as_pixels(image)
            pictures[position] = data_uri(pixels), is_small(pixels)
    return [
        SuspectView(each, *pictures[each.position], pictures[each.duplicate_position][0] if each.duplicate_of else "")
        for each in suspects
    ]


def _summary(curation: "Curation") -> str:
    counts = [f"{len(found):,} {title}" for kind, title in KINDS.items() if (found := curation.of(kind))]
    images = counted(len(curation.pool), "image")
    return f"{images}: {listed(counts)}." if counts else f"{images}: nothing suspicious was found."


def _in_script(values: object) -> str:
    """Return values as JSON that can stand in a script element, whatever texts they contain."""
    return json_text.dump(values).replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
