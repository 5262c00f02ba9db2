"""`convwright predict`: what is in an image."""

import os
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convwright.cli.inputs import Inputs, find_images, name_of
from convwright.cli.output import complain, json_line, write
from convwright.csv_text import csv_row
from convwright.errors import ConvwrightError, UsageError
from convwright.printable import printable
from convwright.zoo.reading import is_network, read_network

if TYPE_CHECKING:
    from convwright.prediction.base import BasePredictor, Prediction

READ_AHEAD = 2
"""Batches decoded while the network is busy with the one before."""

Row = Callable[[str, "Prediction"], str]
"""Writes one image's name and answer as text."""


def predict(
    run: Annotated[str, typer.Argument(help="A run directory or an exported file; with --weights, a network.")],
    images: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[IMAGE]...", help="Files, folders (at any depth), quoted patterns such as 'a/**/*.png', or -."
        ),
    ] = None,
    files_from: Annotated[
        str | None, typer.Option(help="A file, or -, that lists more: one name a line, or ended by NUL.")
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(help="Whose weights the network gets: pretrained, torchvision, timm, or a file of weights."),
    ] = None,
    top: Annotated[int, typer.Option(help="How many classes to name for each image.")] = 3,
    batch_size: Annotated[int, typer.Option(help="Images at once.")] = 64,
    device: Annotated[str, typer.Option(help="cpu, cuda or auto.")] = "auto",
    engine: Annotated[
        str | None, typer.Option(help="What runs an exported file: onnxruntime, openvino or torch; the quickest.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line and image.")] = False,
    as_csv: Annotated[
        bool,
        typer.Option(
            "--csv",
            help="Print CSV, one line an image; names that begin like a formula (=, +, -, @) get a ' before them.",
        ),
    ] = False,
) -> None:
    """Name the likeliest classes of images. A file that cannot be read is told, and the rest goes on."""
    for option, value in (("--top", top), ("--batch-size", batch_size)):
        if value < 1:
            raise UsageError(f"{option} is 1 or more, not {value}")
    if as_json and as_csv:
        raise UsageError("--json and --csv exclude each other")
    predictor = _predictor(run, weights, device, engine)
    inputs = find_images(images or [], files_from)
    for trouble in inputs.troubles:
        complain(trouble)
    top = min(top, len(predictor.classes))
    header, row = _csv(top) if as_csv else ("", _json) if as_json else _text(inputs, predictor.classes, top)
    failed = _answer(predictor, inputs, top, batch_size, header, row)
    told = [f"{failed} of {len(inputs.files)} images could not be read"] * bool(failed)
    told += [f"{len(inputs.troubles)} of the names led to no image"] * bool(inputs.troubles)
    if told:
        raise ConvwrightError("; ".join(told))


def _predictor(run: str, weights: str | None, device: str, engine: str | None) -> "BasePredictor":
    """Load a run, or a network with published weights."""
    if weights is None:
        from convwright.prediction.files import open_predictor

        if not Path(run).exists() and is_network(run):
            raise UsageError(
                f"{run} is a network, not a run directory; to use published weights, add --weights pretrained"
            )
        return open_predictor(Path(run), device, engine)
    if engine is not None:
        raise UsageError("--engine runs exported files; with --weights the network runs in torch")
    network = read_network(run)
    from convwright.prediction.pretrained import pretrained

    return pretrained(network, weights, device)


def _answer(predictor: "BasePredictor", inputs: Inputs, top: int, batch_size: int, header: str, row: Row) -> int:
    """Print an answer for each image as soon as its batch is done; return how many could not be read."""
    from convwright.display.progress import counting

    # Taken before the bar begins, which would lead what is printed to standard error.
    out, total, done, failed = sys.stdout, len(inputs.files), 0, 0
    write(header, out)
    with ExitStack() as stack:
        # On a terminal the answers themselves tell how far it is.
        progress = stack.enter_context(counting()) if total > batch_size and not out.isatty() else None
        for names, results in stack.enter_context(closing(_read_ahead(predictor, inputs, batch_size))):
            good = [pixels for pixels in results if not isinstance(pixels, ConvwrightError)]
            predictions = iter(predictor.rank(good, top))
            for name, result in zip(names, results, strict=True):
                if isinstance(result, ConvwrightError):
                    failed += 1
                    complain(result)
                else:
                    write(row(name, next(predictions)) + "\n", out)
            done += len(names)
            if progress:
                progress(done, total, "predicting")
    return failed


def _read_ahead(
    predictor: "BasePredictor", inputs: Inputs, size: int
) -> Generator[tuple[list[str], list[Any]], None, None]:
    """Yield the names and the pixels (or errors) of each batch, decoded in threads while the last is in use."""
    from convwright.data.threads import ahead

    batches = (inputs.files[start : start + size] for start in range(0, len(inputs.files), size))
    yield from ahead(lambda batch: (list(map(name_of, batch)), predictor.read_all(batch)), batches, 1, READ_AHEAD)


def _unbroken(name: str) -> str:
    """Return a name for formats that quote line breaks themselves; bytes that are no text are spelt out."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _json(name: str, prediction: "Prediction") -> str:
    ranked = zip(prediction.classes, prediction.probabilities, strict=True)
    found = [{"class": label, "probability": probability} for label, probability in ranked]
    return json_line({"file": _unbroken(name), "predictions": found})


def _csv(top: int) -> tuple[str, Row]:
    on_terminal = sys.stdout.isatty()

    def row(name: str, prediction: "Prediction") -> str:
        cells: list[object] = [_unbroken(name)]
        for label, probability in zip(prediction.classes, prediction.probabilities, strict=True):
            cells += [label, f"{probability:.6g}"]
        line = csv_row(cells)
        return printable(line) if on_terminal else line

    titles = [f"{title}_{rank}" for rank in range(1, top + 1) for title in ("class", "probability")]
    return csv_row(["file", *titles]) + "\n", row


def _text(inputs: Inputs, classes: tuple[str, ...], top: int) -> tuple[str, Row]:
    """Columns for people at a terminal, plain lines for a pipe."""
    from convwright.display.table import emphasised

    if not sys.stdout.isatty():
        return "", lambda name, prediction: f"{printable(name)}: " + ", ".join(_shares(prediction, 0))

    wide = max(4, *(len(printable(name_of(file))) for file in inputs.files))
    across = max(len(printable(label)) for label in classes)
    header = emphasised("file".ljust(wide) + "  " + "  ".join(["class".ljust(across) + "  share "] * top).rstrip())
    return header + "\n", lambda name, prediction: "  ".join(
        [printable(name).ljust(wide), *_shares(prediction, across)]
    )


def _shares(prediction: "Prediction", wide: int) -> Iterator[str]:
    """Each class and its probability, in columns where a width is given."""
    for label, probability in zip(prediction.classes, prediction.probabilities, strict=True):
        name = printable(label)
        yield f"{name:<{wide}}  {probability:6.1%}" if wide else f"{name} {probability:.1%}"
