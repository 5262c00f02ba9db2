"""`convwright explain cam`: which parts of an image speak for a class, network beside network."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convwright import json_text
from convwright.arch.layers import numbered
from convwright.cli.explain_inputs import Images, Subject, from_data, from_files, open_subjects, part, warn
from convwright.cli.output import echo, print_json
from convwright.cli.places import check_new_folder
from convwright.display.table import paragraph, table
from convwright.errors import ConvwrightError, UsageError
from convwright.printable import printable

if TYPE_CHECKING:
    from convwright.explain.activation import ActivationMaps
    from convwright.explain.deletion import Estimate, MapScores
    from convwright.explain.gallery import Overlay

SHOWN, SCORED = 8, 100
"""Images drawn from data unless `--count` says how many: to look at, and to take the mean of scores over."""
STEPS, REMOVED = 32, "mean"
SCORES = {
    "deletion": "deletion",
    "random_deletion": "random map",
    "insertion": "insertion",
    "random_insertion": "random map",
}
COMPARED = {
    "deletion": "deletion",
    "insertion": "insertion",
    "deletion_gain": "deletion beyond random",
    "insertion_gain": "insertion beyond random",
}


@dataclass(frozen=True)
class Explained:
    """One network's maps of the images, and their scores where they are asked for."""

    subject: Subject
    maps: "ActivationMaps"
    scores: "MapScores | None"

    @property
    def labels(self) -> list[str]:
        """The class of each map."""
        return [self.subject.predictor.classes[target] for target in self.maps.targets]


def cam(
    networks: Annotated[
        list[str], typer.Argument(metavar="RUN_OR_NETWORK...", help="Run directories; with --weights, networks too.")
    ],
    images: Annotated[
        list[str] | None, typer.Option(help="Files, folders, quoted patterns, or -; can be given again and again.")
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="A folder or source to draw test images from, instead of the runs' own data.")
    ] = None,
    count: Annotated[
        int | None, typer.Option(help=f"How many images; from data, {SHOWN} unless given, {SCORED} with --scores.")
    ] = None,
    weights: Annotated[
        str | None, typer.Option(help="Whose weights networks get: pretrained, torchvision, timm, or a file.")
    ] = None,
    method: Annotated[
        str | None, typer.Option(help="cam, grad-cam or grad-cam++; cam where the network's head allows it.")
    ] = None,
    layer: Annotated[
        str | None, typer.Option(help="The module whose maps are weighed; the last before global pooling.")
    ] = None,
    label: Annotated[
        str | None, typer.Option("--class", help="What the maps shall speak for; the likeliest class of each image.")
    ] = None,
    scores: Annotated[
        bool, typer.Option("--scores", help="Score the maps by deletion and insertion, beside random maps.")
    ] = False,
    steps: Annotated[
        int | None, typer.Option(help=f"With --scores: into how many parts an image's pixels go; {STEPS} unless given.")
    ] = None,
    removed: Annotated[
        str | None,
        typer.Option(help=f"With --scores: what removed pixels become: mean, black or blur; {REMOVED} unless given."),
    ] = None,
    show: Annotated[int, typer.Option(help="Most images to draw; the maps of all are written.")] = SHOWN,
    out: Annotated[Path | None, typer.Option(help="A new folder; cams, cams-2, ... unless given.")] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Images at once, changed ones included; as suits the network unless given.")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or auto.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Map what in an image speaks for a class: overlays, raw maps, and one figure with the networks side by side."""
    for option, value in (("--count", count), ("--show", show), ("--steps", steps), ("--batch-size", batch_size)):
        if value is not None and value < 1:
            raise UsageError(f"{option} is 1 or more, not {value}")
    if images and data is not None:
        raise UsageError("--images and --data exclude each other")
    for option, given in (("--steps", steps), ("--removed", removed)):
        if given is not None and not scores:
            raise UsageError(f"{option} is about scores; add --scores")
    folder = _output_folder(out)
    scoring = (STEPS if steps is None else steps, REMOVED if removed is None else removed) if scores else None
    _check(method, scoring)
    names, files = part(networks, images or [])
    if not names:
        raise UsageError("name a run directory, or a network with --weights, before --images")
    subjects = open_subjects(names, weights, device)
    drawn = count or (SCORED if scores else SHOWN)
    read = from_files(subjects, files, count) if files else from_data(subjects, data, drawn)
    warn(read)
    explained = _explain(subjects, read, (method, layer, label), scoring, batch_size)
    result = _write(folder, explained, read, show)
    if as_json:
        print_json(result)
    else:
        echo(_described(result, explained, read, folder, show))
    if read.troubles:
        raise ConvwrightError(f"{len(read.troubles)} of what was named could not be read; the rest is in {folder}")


def _explain(
    subjects: Sequence[Subject],
    images: Images,
    how: tuple[str | None, str | None, str | None],
    scoring: tuple[int, str] | None,
    batch_size: int | None,
) -> list[Explained]:
    """Map, and score, with each network in turn. UsageError names the network that it is about."""
    from convwright.display.progress import counting
    from convwright.explain.activation import BATCH, activation_maps
    from convwright.explain.deletion import score_maps

    method, layer, label = how
    found = []
    with counting() as progress:
        for subject, pixels in zip(subjects, images.pixels, strict=True):
            try:
                maps = activation_maps(
                    subject.predictor,
                    pixels,
                    method=method,
                    layer=layer,
                    target=label,
                    batch_size=batch_size or BATCH,
                    progress=_counted(progress, len(pixels), f"{subject.title}: maps"),
                )
            except UsageError as error:
                raise UsageError(f"{subject.title}: {error}") from None
            scores = None
            if scoring:
                told = _counted(progress, len(pixels), f"{subject.title}: scores")
                steps, removed = scoring
                scores = score_maps(
                    subject.predictor, pixels, maps, steps=steps, removed=removed, batch_size=batch_size, progress=told
                )
            found.append(Explained(subject, maps, scores))
    return found


def _counted(progress: Callable[[int, int, str], None], total: int, what: str) -> Callable[[int], None]:
    done = 0

    def tell(images: int) -> None:
        nonlocal done
        done += images
        progress(done, total, what)

    return tell


def _check(method: str | None, scoring: tuple[int, str] | None) -> None:
    """UsageError for ways to map and to score that there are not, before any work is done."""
    from convwright.explain.activation import check_method
    from convwright.explain.deletion import check_scoring

    check_method(method)
    if scoring:
        check_scoring(*scoring)


def _output_folder(out: Path | None) -> Path:
    """Return where to write. UsageError if a new folder cannot be made there."""
    if out is None:
        number, out = 1, Path("cams")
        while os.path.lexists(out):
            number += 1
            out = Path(f"cams-{number}")
    check_new_folder("--out", out)
    return out


def _write(folder: Path, explained: Sequence[Explained], images: Images, show: int) -> dict[str, Any]:
    """Write the folder, whole or not at all; return what is in it."""
    import numpy as np

    from convwright.explain.drawing import png
    from convwright.explain.gallery import laid_over
    from convwright.files import new_folder, write_text

    result: dict[str, Any] = {"figure": str(folder / "figure.png"), "images": images.source, "networks": []}
    drawn = []
    names = numbered([_file_name(one.subject.title) for one in explained])
    with new_folder(folder) as partial:
        for one, name, pixels in zip(explained, names, images.pixels, strict=True):
            (partial / name).mkdir()
            np.save(partial / name / "maps.npy", one.maps.maps)
            np.save(partial / name / "raw.npy", one.maps.raw)
            laid = laid_over(one.subject.predictor, pixels[:show], one.maps)
            files = [f"{number:04d}-{_file_name(Path(images.names[number]).stem)}.png" for number in range(len(laid))]
            for file, overlay in zip(files, laid, strict=True):
                (partial / name / file).write_bytes(overlay.png)
            drawn.append(laid)
            result["networks"].append(_facts(one, images, folder / name, files))
        if explained[0].scores:
            result["differences"] = _differences(explained)
        (partial / "figure.png").write_bytes(png(_figure(explained, images, drawn)))
        write_text(partial / "cams.json", json_text.dump(result, indent=1) + "\n")
    return result


def _figure(explained: Sequence[Explained], images: Images, drawn: "Sequence[Sequence[Overlay]]") -> Any:
    from convwright.explain.drawing import TILE, Cell, figure, picture

    shown = len(drawn[0])
    names = [truth or Path(name).name for name, truth in zip(images.names, images.truths, strict=True)]
    sharpest = max(range(len(explained)), key=lambda index: explained[index].subject.predictor.network.resolution)
    originals = [
        Cell(picture(pixels.numpy(), TILE), name)
        for pixels, name in zip(images.pixels[sharpest][:shown], names, strict=False)
    ]
    columns = [
        [Cell(cell.picture, f"{cell.label}  {cell.probability:.1%}", _note(one, row)) for row, cell in enumerate(laid)]
        for one, laid in zip(explained, drawn, strict=True)
    ]
    return figure([one.subject.title for one in explained], originals, columns, _caption(explained))


def _note(one: Explained, row: int) -> str:
    if one.scores is None:
        return ""
    values = one.scores.values()
    return f"deletion {values['deletion'][row]:.2f}, insertion {values['insertion'][row]:.2f}"


def _caption(explained: Sequence[Explained]) -> str:
    """Say in words how the maps were made."""
    names = {"cam": "CAM", "grad-cam": "Grad-CAM", "grad-cam++": "Grad-CAM++"}
    ways: dict[str, dict[str, None]] = {}
    for one in explained:
        ways.setdefault(names[one.maps.method], {})[one.maps.layer] = None
    told = "; ".join(f"{method} at {' and '.join(layers)}" for method, layers in ways.items())
    text = f"What speaks for the class that is named below, with its probability: {told}. Each map has its own scale."
    for note, titles in _notes(explained).items():
        text += f" {titles}: {note[0].lower()}{note[1:]}"
    if explained[0].scores:
        text += " Deletion is better when low, insertion when high."
    return text


def _notes(explained: Sequence[Explained]) -> dict[str, str]:
    """Return why maps are of other layers than expected, and the networks whose they are."""
    found: dict[str, list[str]] = {}
    for one in explained:
        if one.maps.note:
            found.setdefault(one.maps.note, []).append(one.subject.title)
    return {note: ", ".join(titles) for note, titles in found.items()}


def _facts(one: Explained, images: Images, folder: Path, files: Sequence[str]) -> dict[str, Any]:
    from convwright.explain.deletion import each_score

    rows = [
        {"image": name, "truth": truth, "class": label, "probability": probability}
        for name, truth, label, probability in zip(
            images.names, images.truths, one.labels, one.maps.probabilities, strict=True
        )
    ]
    for row, file in zip(rows, files, strict=False):
        row["overlay"] = str(folder / file)
    facts: dict[str, Any] = {
        "name": one.subject.title,
        "network": one.subject.predictor.network.name,
        "method": one.maps.method,
        "layer": one.maps.layer,
        "note": one.maps.note or None,
        "maps": str(folder / "maps.npy"),
        "raw": str(folder / "raw.npy"),
    }
    if one.scores:
        for row, values in zip(rows, each_score(one.scores), strict=True):
            row |= values
        facts["scores"] = _estimates(one.scores.estimates())
    return facts | {"images": rows}


def _differences(explained: Sequence[Explained]) -> list[dict[str, Any]]:
    """Compare each further network with the first, image by image."""
    first, *others = ((one.subject.title, one.scores) for one in explained if one.scores)
    return [{"name": title, "from": first[0], "scores": _estimates(scores.minus(first[1]))} for title, scores in others]


def _estimates(estimates: "dict[str, Estimate]") -> dict[str, Any]:
    return {
        name: {"mean": one.mean, "interval": one.interval and list(one.interval), "images": one.images}
        for name, one in estimates.items()
    }


def _described(result: dict[str, Any], explained: Sequence[Explained], images: Images, folder: Path, show: int) -> str:
    rows = [
        (images.names[row], images.truths[row] or "", one.subject.title, one.labels[row], f"{chance:.1%}", "")
        for row in range(min(show, len(images.names)))
        for one in explained
        for chance in [one.maps.probabilities[row]]
    ]
    blocks = [table(("image", "shown", "network", "map of", "probability", ""), rows, left=4), _caption(explained)]
    if "differences" in result:
        blocks += _scores_described(result)
    blocks[1:] = [text if "\n" in text else paragraph(text) for text in blocks[1:]]
    return "\n\n".join([*blocks, f"figure, overlays and maps: {printable(folder)}"])


def _scores_described(result: dict[str, Any]) -> list[str]:
    """Return the tables of scores: each network's, and the differences from the first."""
    networks = result["networks"]
    rows = [(one["name"], *(_interval(one["scores"][name]) for name in SCORES), "") for one in networks]
    images = networks[0]["scores"]["deletion"]["images"]
    blocks = [
        table(("network", *SCORES.values(), ""), rows),
        f"Mean areas under the probability of the class over {images} images, with 95 % intervals. Deletion is better "
        "when low, insertion when high; random maps of the same coarseness stand beside them.",
    ]
    if result["differences"]:
        title = f"difference from {result['differences'][0]['from']}"
        rows = [
            (one["name"], *(_interval(one["scores"][name]) for name in COMPARED), "") for one in result["differences"]
        ]
        blocks += [
            table((title, *COMPARED.values(), ""), rows),
            "Differences are taken image by image; one whose interval holds zero is none that these images show.",
        ]
    return blocks


def _interval(estimate: dict[str, Any]) -> str:
    between = estimate["interval"]
    return f"{estimate['mean']:.3f}" + (f" ({between[0]:.3f} to {between[1]:.3f})" if between else "")


def _file_name(text: str) -> str:
    """Return a text as the name of a file or folder."""
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in text)[:80].lstrip(".") or "network"
