"""`convwright predict`: what is in an image."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from convwright.errors import ConvwrightError, UsageError

if TYPE_CHECKING:
    from convwright.training.predictor import Prediction

BATCH = 64


def predict(
    run: Annotated[Path, typer.Argument(help="A run directory.")],
    images: Annotated[list[Path], typer.Argument(help="Image files.")],
    top: Annotated[int, typer.Option(help="How many classes to name for each image.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line and image.")] = False,
) -> None:
    """Name the likeliest classes of images. A file that cannot be read is told, and the rest goes on."""
    if top < 1:
        raise UsageError(f"--top is 1 or more, not {top}")
    from convwright.training.predictor import load

    predictor = load(run)
    failed = 0
    for start in range(0, len(images), BATCH):
        paths, pixels = [], []
        for path in images[start : start + BATCH]:
            try:
                pixels.append(predictor.read(path))
                paths.append(path)
            except ConvwrightError as error:
                failed += 1
                typer.echo(f"convwright: {error}", err=True)
        for path, prediction in zip(paths, predictor.predict(pixels, top), strict=True):
            typer.echo(_line(path, prediction, as_json))
    if failed:
        raise ConvwrightError(f"{failed} of {len(images)} images could not be read")


def _line(path: Path, prediction: "Prediction", as_json: bool) -> str:
    ranked = list(zip(prediction.classes, prediction.probabilities, strict=True))
    if as_json:
        found = [{"class": name, "probability": probability} for name, probability in ranked]
        return json.dumps({"file": str(path), "predictions": found}, ensure_ascii=False)
    return f"{path}: " + ", ".join(f"{name} {probability:.1%}" for name, probability in ranked)
