"""Predictions for several images, as a list that shows itself."""

from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from io import BytesIO
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from PIL import Image

from convwright.csv_text import csv_table
from convwright.display.result import Block, Html, Result, Table
from convwright.errors import ConvwrightError, warn
from convwright.prediction.outcomes import ClassSet, Prediction, PredictionSet, UnreadableImage, readable_name

if TYPE_CHECKING:
    from convwright.prediction.stream import PredictionStream

PICTURES = 24
"""Most images that a notebook shows."""
SEPARATOR = "|"
"""Between the labels of an image; lists of images are read with it too."""
PICTURE_STYLE = "display:flex;flex-wrap:wrap;gap:.7em;margin:.5em 0"


@dataclass(frozen=True, eq=False)
class Predictions(Result, Sequence[Prediction]):
    """The most likely classes of each image, as a list of `Prediction`."""

    predictions: tuple[Prediction, ...]
    """One entry for each image that could be read, in the order given."""
    unreadable: tuple[UnreadableImage, ...] = ()
    """Images that could not be read."""
    problems: tuple[str, ...] = ()
    """A message for each name that matched no image."""
    _pictures: tuple[np.ndarray, ...] = field(default=(), repr=False)
    """The first images, C x H x W, uint8, as the network reads them."""

    @classmethod
    def collect(cls, stream: "PredictionStream") -> "Predictions":
        """Compute all predictions of a stream, with a warning where images are missing.

        Raises:
            ConvwrightError: None of the images could be read.
        """
        predictions: list[Prediction] = []
        unreadable: list[UnreadableImage] = []
        pictures: list[Any] = []
        for batch in stream.batches(progress=True):
            predictions += [one for one in batch.outcomes if isinstance(one, Prediction)]
            unreadable += [one for one in batch.outcomes if isinstance(one, UnreadableImage)]
            pictures += batch.pixels[: PICTURES - len(pictures)]
        result = cls(
            tuple(predictions), tuple(unreadable), tuple(stream.found.problems), tuple(map(np.asarray, pictures))
        )
        if missing := result.missing():
            reasons = [*(one.reason for one in unreadable), *result.problems]
            message = f"{missing}; the first: {reasons[0]}"
            if not predictions:
                raise ConvwrightError(message)
            warn(message)
        return result

    def missing(self) -> str:
        """Return in words how many images are missing; an empty text if none is."""
        total = len(self.predictions) + len(self.unreadable)
        parts = [f"{len(self.unreadable)} of {total} images could not be read"] * bool(self.unreadable)
        parts += [f"{len(self.problems)} of the given names matched no image"] * bool(self.problems)
        return "; ".join(parts)

    @overload
    def __getitem__(self, index: int) -> Prediction: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Prediction]: ...
    def __getitem__(self, index: int | slice) -> Prediction | Sequence[Prediction]:
        return self.predictions[index]

    def __len__(self) -> int:
        return len(self.predictions)

    def __iter__(self) -> Iterator[Prediction]:
        return iter(self.predictions)

    @property
    def sets(self) -> bool:
        """Whether images have sets of classes: of a multi-label network, or with a given coverage."""
        return any(isinstance(one, ClassSet) for one in self.predictions)

    @property
    def top(self) -> int:
        """Classes named for each image."""
        return max((len(one.classes) for one in self.predictions), default=0)

    def to_dict(self) -> dict[str, object]:
        """Return the predictions under `predictions`, the same as `--json` prints."""
        return {"predictions": self.json_value()}

    def json_value(self) -> object:
        """Return a list of the predictions; `convwright predict --json` prints one of its entries on each line."""
        return [one.to_dict() for one in self.predictions]

    def to_csv(self) -> str:
        """Return the predictions as CSV, as `convwright predict --csv` prints them."""
        coverage = next((one.coverage for one in self.predictions if isinstance(one, PredictionSet)), None)
        titles = csv_titles(self.top, sets=self.sets, coverage=coverage)
        return csv_table([titles, *map(csv_cells, self.predictions)])

    def blocks(self) -> Iterable[Block]:
        """Yield pictures for notebooks, and a table."""
        if self._pictures:
            yield Html(self._gallery())
        if self.sets:
            sets = [one for one in self.predictions if isinstance(one, ClassSet)]
            yield Table(("file", "classes", ""), [(one.file, one.described(), "") for one in sets], left=2)
            return
        titles = ("file", *("class", "probability") * self.top)
        rows = [
            (one.file, *(cell for label, share in one.ranked() for cell in (label, f"{share:.1%}")))
            for one in self.predictions
        ]
        yield Table(titles, rows)

    def _gallery(self) -> str:
        shown = zip(self.predictions, self._pictures, strict=False)
        return f'<div style="{PICTURE_STYLE}">{"".join(_picture(one, pixels) for one, pixels in shown)}</div>'


def csv_titles(top: int, *, sets: bool = False, coverage: float | None = None) -> list[str]:
    """Return the titles of a CSV table.

    Args:
        top: Classes for each image.
        sets: Whether images have sets of classes instead.
        coverage: Share of images whose set contains the true class; None: sets are not prediction sets.
    """
    if sets:
        return ["file", "labels", "probabilities", *["known"] * (coverage is not None)]
    return ["file", *(f"{title}_{rank}" for rank in range(1, top + 1) for title in ("class", "probability"))]


def csv_cells(prediction: Prediction) -> list[object]:
    """Return a prediction's row of a CSV table; classes of a set are separated as in lists."""
    if isinstance(prediction, ClassSet):
        shares = SEPARATOR.join(f"{probability:.6g}" for probability in prediction.probabilities)
        known = ["yes" if prediction.known else "no"] if isinstance(prediction, PredictionSet) else []
        return [readable_name(prediction.file), SEPARATOR.join(prediction.classes), shares, *known]
    cells: list[object] = [readable_name(prediction.file)]
    for label, probability in prediction.ranked():
        cells += [label, f"{probability:.6g}"]
    return cells


def _picture(prediction: Prediction, pixels: np.ndarray) -> str:
    values = pixels.transpose(1, 2, 0)
    content = BytesIO()
    Image.fromarray(values[..., 0] if values.shape[-1] == 1 else values).save(content, "PNG")
    source = f"data:image/png;base64,{b64encode(content.getvalue()).decode('ascii')}"
    if isinstance(prediction, ClassSet):
        label = escape(prediction.described())
    else:
        label = escape(f"{prediction.label} {prediction.probability:.0%}")
    name = escape(prediction.file)
    image = f'<img src="{source}" alt="{name}" title="{name}" style="width:7em;image-rendering:pixelated">'
    return f'<figure style="margin:0;width:7em">{image}<figcaption>{label}</figcaption></figure>'
