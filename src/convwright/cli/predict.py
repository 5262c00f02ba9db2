"""`convwright predict`, which prints each prediction as soon as its batch is done."""

import sys
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING, Any

import click

from convwright.api.prediction import predict as predict_images
from convwright.cli.generate import command
from convwright.cli.output import json_line, print_error, write
from convwright.csv_text import csv_row
from convwright.display.table import emphasised
from convwright.errors import ConvwrightError, UsageError
from convwright.printable import printable

if TYPE_CHECKING:
    from convwright.prediction.outcomes import Prediction
    from convwright.prediction.stream import PredictionStream

CSV = click.Option(
    ["--csv", "as_csv"],
    is_flag=True,
    help="Print CSV; names that start like a formula (=, +, -, @) get a ' before them.",
)


def print_predictions(as_csv: bool, as_json: bool, **values: Any) -> None:
    """Print a line for each image; complain about images that cannot be read, and fail in the end."""
    from convwright.prediction.outcomes import Prediction
    from convwright.prediction.stream import open_stream

    if as_json and as_csv:
        raise UsageError("--json and --csv exclude each other")
    stream = open_stream(**values)
    for problem in stream.found.problems:
        print_error(problem)
    out, unreadable = sys.stdout, 0  # before a progress bar redirects it
    header, line = _csv(stream) if as_csv else ("", _json) if as_json else _text(stream)
    write(header, out)
    with closing(stream.batches(progress=not out.isatty())) as batches:
        for batch in batches:
            for one in batch.outcomes:
                if isinstance(one, Prediction):
                    write(line(one) + "\n", out)
                else:
                    unreadable += 1
                    print_error(one.reason)
    missing = [f"{unreadable} of {len(stream.found)} images could not be read"] * bool(unreadable)
    missing += [f"{len(stream.found.problems)} of the given names matched no image"] * bool(stream.found.problems)
    if missing:
        raise ConvwrightError("; ".join(missing))


Line = Callable[["Prediction"], str]
"""Returns the text of a prediction."""


def _json(prediction: "Prediction") -> str:
    return json_line(prediction.to_dict())


def _csv(stream: "PredictionStream") -> tuple[str, Line]:
    from convwright.prediction.result import csv_cells, csv_titles

    safe: Callable[[str], str] = printable if sys.stdout.isatty() else str
    titles = csv_titles(stream.top or 0, sets=stream.sets, coverage=stream.coverage)
    return csv_row(titles) + "\n", lambda prediction: safe(csv_row(csv_cells(prediction)))


def _text(stream: "PredictionStream") -> tuple[str, Line]:
    """Return columns for a terminal, and plain lines for a pipe."""
    if not sys.stdout.isatty():
        return "", str
    wide = max(4, *(len(printable(image.name)) for image in stream.found.images))
    if stream.top is None:
        return _label_sets(wide)
    across = max(len(printable(label)) for label in stream.predictor.classes)

    def line(prediction: "Prediction") -> str:
        shares = [f"{printable(label):<{across}}  {share:6.1%}" for label, share in prediction.ranked()]
        return "  ".join([printable(prediction.file).ljust(wide), *shares])

    titles = "  ".join(["class".ljust(across) + "  share "] * stream.top).rstrip()
    return emphasised("file".ljust(wide) + "  " + titles) + "\n", line


def _label_sets(wide: int) -> tuple[str, Line]:
    """Return a column of files and one of their sets of classes."""
    from convwright.prediction.outcomes import ClassSet

    def line(prediction: "Prediction") -> str:
        assert isinstance(prediction, ClassSet)
        return f"{printable(prediction.file).ljust(wide)}  {prediction.described()}"

    return emphasised("file".ljust(wide) + "  classes") + "\n", line


predict = command(predict_images, name="predict", arguments=("run", "images"), extra=(CSV,), stream=print_predictions)
