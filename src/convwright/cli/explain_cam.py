"""`convwright explain cam` and `faithfulness`: evidence for a class in images, network beside network."""

import os
from glob import has_magic
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from convwright.cli.generate import command, parameters_of
from convwright.errors import ConvwrightError, UsageError
from convwright.explain import functions
from convwright.files import IMAGE_SUFFIXES
from convwright.options import options_of
from convwright.places import check_new_folder

if TYPE_CHECKING:
    from convwright.explain import ClassActivation, Faithfulness

SCORED = 100
"""Images drawn from data to average scores over."""
SCORING = [each for each in options_of(functions.faithfulness) if each.name in ("steps", "removed")]
MAPPING = [each for each in options_of(functions.cam) if each.name not in ("show", "batch_size")]
OUT = click.Option(["--out"], type=Path, help="A new folder for overlays and maps; cams, cams-2, ... by default.")
SCORES = click.Option(["--scores"], is_flag=True, help="Score the maps by deletion and insertion, beside random maps.")


def _cam(*, scores: bool = False, out: Path | None = None, **values: Any) -> "ClassActivation":
    scoring = {each.name: values.pop(each.name) for each in SCORING if each.name in values}
    if scoring and not scores:
        raise UsageError(f"--{next(iter(scoring))} requires --scores")
    for each in SCORING:
        each.check(scoring.get(each.name, each.default))
    folder = out or _unused_folder()
    check_new_folder("out", folder)
    maps = _maps(values, SCORED if scores else None)
    if scores:
        maps = functions.faithfulness(None, maps, batch_size=values.get("batch_size"), **scoring).maps
    return maps.save(folder)


def _faithfulness(**values: Any) -> "Faithfulness":
    scoring = {each.name: values.pop(each.name) for each in SCORING if each.name in values}
    return functions.faithfulness(None, _maps(values, SCORED), batch_size=values.get("batch_size"), **scoring)


def _maps(values: dict[str, Any], drawn: int | None) -> "ClassActivation":
    """Make maps; image files among the networks are what a shell made of `--images *.png`."""
    names, images = list(values.pop("networks", ())), list(values.pop("images", ()))
    also = [name for name in names if images and (Path(name).suffix.lower() in IMAGE_SUFFIXES or has_magic(name))]
    networks = [name for name in names if name not in also]
    if not networks:
        raise UsageError("name a run directory, or a network with --weights, before --images")
    if not images and drawn is not None:
        values.setdefault("count", drawn)
    return functions.cam(networks, [*images, *also] or None, **values)


def _unused_folder() -> Path:
    number, folder = 1, Path("cams")
    while os.path.lexists(folder):
        number += 1
        folder = Path(f"cams-{number}")
    return folder


def _check_read(result: "ClassActivation | Faithfulness") -> None:
    from convwright.explain.cam_result import ClassActivation

    maps = result if isinstance(result, ClassActivation) else result.maps
    if problems := len(maps.images.problems):
        rest = f"; the rest is in {maps.folder}" if maps.folder else ""
        raise ConvwrightError(f"{problems} of the images could not be read{rest}")


EXTRA = [SCORES, *parameters_of(SCORING), OUT]
cam = command(functions.cam, name="cam", arguments=("networks",), extra=EXTRA, call=_cam, after=_check_read)
faithfulness = command(
    functions.faithfulness,
    name="faithfulness",
    options=[each for each in options_of(functions.faithfulness) if each.name not in ("run", "maps")],
    extra=parameters_of(MAPPING, arguments=("networks",)),
    call=_faithfulness,
    after=_check_read,
    html=True,
)
