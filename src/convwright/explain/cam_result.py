"""Class activation maps of several networks side by side: as a table, overlays, a figure, and a folder of files."""

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from convwright import json_text
from convwright.arch.layers import numbered
from convwright.arch.resolution import largest
from convwright.brief import Brief
from convwright.display.figure_result import FigureResult
from convwright.display.figures import Figure, Gallery, Picture
from convwright.display.result import Block, Lines, Paragraph, Table
from convwright.display.wording import listed
from convwright.errors import ArgumentError
from convwright.explain.activation import ActivationMaps
from convwright.explain.deletion import MapScores, each_score
from convwright.explain.drawing import TILE, Cell, figure, picture, png
from convwright.explain.gallery import Overlay, laid_over
from convwright.explain.images import ReadImages, truth_text
from convwright.explain.map_tables import differences, estimates_dict, score_tables
from convwright.explain.opened import OpenNetwork
from convwright.files import new_folder, write_text
from convwright.options import checks_arguments
from convwright.places import check_new_folder
from convwright.printable import printable

if TYPE_CHECKING:
    import plotly.graph_objects as go
    import torch
    from PIL import Image

METHOD_NAMES = {"cam": "CAM", "grad-cam": "Grad-CAM", "grad-cam++": "Grad-CAM++"}


@dataclass(frozen=True, eq=False)
class NetworkMaps(Brief):
    """The maps of one network, and their scores where they were measured."""

    network: OpenNetwork
    maps: ActivationMaps
    scores: MapScores | None = None

    @property
    def title(self) -> str:
        """Name of the run's folder, or of the network."""
        return self.network.title

    @property
    def labels(self) -> list[str]:
        """The class of each map."""
        return [self.network.predictor.classes[target] for target in self.maps.targets]

    def repr_fields(self) -> dict[str, object]:
        """Return what `repr` shows."""
        return {"title": self.title, "method": self.maps.method, "layer": self.maps.layer, "images": len(self.maps)}

    def rows(self, images: ReadImages) -> list[dict[str, object]]:
        """Return the values of each image for JSON."""
        columns = zip(images.names, images.truths, self.labels, self.maps.probabilities, strict=True)
        rows: list[dict[str, object]] = [
            {
                "image": name,
                "truth": list(truth) if isinstance(truth, tuple) else truth,
                "class": label,
                "probability": probability,
            }
            for name, truth, label, probability in columns
        ]
        if self.scores:
            for row, values in zip(rows, each_score(self.scores), strict=True):
                row |= values
        return rows


@dataclass(frozen=True, eq=False, repr=False)
class ClassActivation(FigureResult):
    """Class activation maps of some images, network by network."""

    networks: tuple[NetworkMaps, ...]
    images: ReadImages
    show: int = 8
    """Most images to draw."""
    folder: Path | None = None
    """Where `save` has written overlays, maps and figure."""

    @property
    def title(self) -> str:
        """Heading of a page that shows the maps."""
        return f"What {listed(one.title for one in self.networks)} {'looks' if len(self.networks) == 1 else 'look'} at"

    @property
    def summary(self) -> str:
        """How the maps were made."""
        return _caption(self.networks)

    @property
    def shown(self) -> int:
        """How many images are drawn."""
        return min(self.show, len(self.images))

    @checks_arguments
    def overlays(self, network: int = 0) -> list[Overlay]:
        """Return the images that are drawn, each under its map.

        Args:
            network: Position of the network, from 0.

        Raises:
            ArgumentError: There is no such network.
        """
        if not -len(self.networks) <= network < len(self.networks):
            raise ArgumentError("network", f"must be a position from 0 to {len(self.networks) - 1}, not {network}")
        one = self.networks[network]
        return laid_over(one.network.predictor, self.images.pixels[network][: self.shown], one.maps)

    def sheet(self) -> "Image.Image":
        """Return one picture of all: a row for each image, a column for each network."""
        return _sheet(self, [self.overlays(place) for place in range(len(self.networks))])

    def figure(self) -> "go.Figure":
        """Return `sheet` as a Plotly figure."""
        import plotly.graph_objects as go

        sheet = self.sheet()
        drawn = go.Figure(go.Image(source=_data_uri(sheet), hoverinfo="skip"))
        drawn.update_xaxes(visible=False)
        drawn.update_yaxes(visible=False)
        return drawn.update_layout(height=sheet.height, width=sheet.width, margin={"l": 0, "r": 0, "t": 0, "b": 0})

    def figures(self) -> list[Figure]:
        """Return the contact sheet: the images, and below them each network's overlays."""
        networks = [_gallery(one, self.overlays(place)) for place, one in enumerate(self.networks)]
        galleries = (_originals(self), *networks)
        return [Figure("cam", "Class activation maps", _caption(self.networks), galleries=galleries)]

    def to_dict(self) -> dict[str, object]:
        """Return class and probability of each image by network, scores where measured, and files where saved."""
        names = self._file_names()
        facts: dict[str, object] = {"figure": str(self.folder / "figure.png")} if self.folder else {}
        facts |= {"images": self.images.source}
        facts["networks"] = [_network_dict(self, one, name) for one, name in zip(self.networks, names, strict=True)]
        if self.networks[0].scores:
            facts["differences"] = differences([(one.title, one.scores) for one in self.networks])
        return facts

    def blocks(self) -> Iterable[Block]:
        """Yield a row for each image and network, how the maps were made, and the scores."""
        rows = [
            (
                self.images.names[row],
                truth_text(self.images.truths[row]),
                one.title,
                one.labels[row],
                f"{chance:.1%}",
                "",
            )
            for row in range(self.shown)
            for one in self.networks
            for chance in [one.maps.probabilities[row]]
        ]
        yield Table(("image", "shown", "network", "map of", "probability", ""), rows, left=4)
        yield Paragraph(_caption(self.networks))
        yield from score_tables([(one.title, one.scores) for one in self.networks if one.scores])
        if self.folder is not None:
            yield Lines(f"figure, overlays and maps: {printable(self.folder)}")

    @checks_arguments
    def save(self, folder: str | Path) -> "ClassActivation":
        """Write the maps to a new folder, completely or not at all.

        The folder has `figure.png`, `cams.json` with the content of `to_dict`, and for each network an overlay of
        each image that is drawn, `maps.npy` (N x H x W, 0 to 1) and `raw.npy` (N x h x w).

        Args:
            folder: The folder; missing parents are made.

        Returns:
            The same result, with the folder in it.

        Raises:
            ArgumentError: There is no place for a new folder.
            ConvwrightError: The system could not write.
        """
        folder = Path(folder)
        check_new_folder("folder", folder)
        saved = replace(self, folder=folder)
        drawn = []
        with new_folder(folder) as partial:
            for place, (one, name) in enumerate(zip(self.networks, self._file_names(), strict=True)):
                (partial / name).mkdir()
                np.save(partial / name / "maps.npy", one.maps.maps)
                np.save(partial / name / "raw.npy", one.maps.raw)
                drawn.append(self.overlays(place))
                for number, overlay in enumerate(drawn[-1]):
                    (partial / name / _overlay_name(self.images, number)).write_bytes(overlay.png)
            (partial / "figure.png").write_bytes(png(_sheet(self, drawn)))
            write_text(partial / "cams.json", json_text.dump(saved.to_dict(), indent=1) + "\n")
        return saved

    def _file_names(self) -> Sequence[str]:
        return numbered([_file_name(one.title) for one in self.networks])


def _network_dict(result: ClassActivation, one: NetworkMaps, name: str) -> dict[str, object]:
    rows = one.rows(result.images)
    facts: dict[str, object] = {
        "name": one.title,
        "network": one.network.predictor.network.name,
        "method": one.maps.method,
        "layer": one.maps.layer,
        "note": one.maps.note or None,
    }
    if result.folder is not None:
        folder = result.folder / name
        facts |= {"maps": str(folder / "maps.npy"), "raw": str(folder / "raw.npy")}
        for number in range(result.shown):
            rows[number]["overlay"] = str(folder / _overlay_name(result.images, number))
    if one.scores:
        facts["scores"] = estimates_dict(one.scores.estimates())
    return facts | {"images": rows}


def _sheet(result: ClassActivation, drawn: Sequence[Sequence[Overlay]]) -> "Image.Image":
    originals = [
        Cell(picture(pixels.numpy(), TILE), name)
        for pixels, name in zip(_sharpest(result), _names(result), strict=True)
    ]
    columns = [
        [Cell(cell.picture, f"{cell.label}  {cell.probability:.1%}", _note(one, row)) for row, cell in enumerate(laid)]
        for one, laid in zip(result.networks, drawn, strict=True)
    ]
    return figure([one.title for one in result.networks], originals, columns, _caption(result.networks))


def _originals(result: ClassActivation) -> Gallery:
    pictures = [
        Picture(_data_uri(picture(pixels.numpy(), max(TILE, *pixels.shape[-2:]))), f"Image of {name}", (name,))
        for pixels, name in zip(_sharpest(result), _names(result), strict=True)
    ]
    return Gallery("images", tuple(pictures), columns=len(pictures))


def _gallery(one: NetworkMaps, overlays: Sequence[Overlay]) -> Gallery:
    pictures = [
        Picture(
            _data_uri(laid.picture),
            f"Map of {laid.label} by {one.title}",
            (f"{laid.label} {laid.probability:.1%}", *filter(None, [_note(one, row)])),
        )
        for row, laid in enumerate(overlays)
    ]
    return Gallery(one.title, tuple(pictures), columns=len(pictures))


def _sharpest(result: ClassActivation) -> "Sequence[torch.Tensor]":
    """Return the images that are drawn, as the network of the highest resolution reads them."""
    resolutions = [one.network.predictor.network.resolution for one in result.networks]
    return result.images.pixels[resolutions.index(largest(resolutions))][: result.shown]


def _names(result: ClassActivation) -> list[str]:
    named = zip(result.images.names[: result.shown], result.images.truths, strict=False)
    return [truth_text(truth) or Path(name).name for name, truth in named]


def _note(one: NetworkMaps, row: int) -> str:
    if one.scores is None:
        return ""
    values = one.scores.values()
    return f"deletion {values['deletion'][row]:.2f}, insertion {values['insertion'][row]:.2f}"


def _caption(networks: Sequence[NetworkMaps]) -> str:
    """Describe how the maps were made."""
    layers: dict[str, dict[str, None]] = {}
    for one in networks:
        layers.setdefault(METHOD_NAMES[one.maps.method], {})[one.maps.layer] = None
    ways = "; ".join(f"{method} at {' and '.join(places)}" for method, places in layers.items())
    text = f"Evidence for the class named below, with its probability: {ways}. Each map has its own scale."
    for note, titles in _notes(networks).items():
        text += f" {titles}: {note[0].lower()}{note[1:]}"
    if networks[0].scores:
        text += " Deletion is better when low, insertion when high."
    return text


def _notes(networks: Sequence[NetworkMaps]) -> dict[str, str]:
    """Return why maps are of other layers than expected, and the titles of their networks."""
    found: dict[str, list[str]] = {}
    for one in networks:
        if one.maps.note:
            found.setdefault(one.maps.note, []).append(one.title)
    return {note: ", ".join(titles) for note, titles in found.items()}


def _overlay_name(images: ReadImages, number: int) -> str:
    return f"{number:04d}-{_file_name(Path(images.names[number]).stem)}.png"


def _file_name(text: str) -> str:
    """Return a text as the name of a file or folder."""
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in text)[:80].lstrip(".") or "network"


def _data_uri(drawn: "Image.Image") -> str:
    return f"data:image/png;base64,{base64.b64encode(png(drawn)).decode()}"
