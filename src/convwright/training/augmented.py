"""Training images beside what the network sees of them: the batches of a run, without the run."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch

from convwright.arch.resolution import format_sides, sides
from convwright.brief import Brief
from convwright.data import Augmentation, Dataset
from convwright.display.figure_result import FigureResult
from convwright.display.figures import Figure, Gallery, Picture
from convwright.display.pictures import as_pixels, data_uri, is_small
from convwright.display.result import Block, Lines
from convwright.display.wording import counted
from convwright.printable import printable
from convwright.training.preparation import training_batches
from convwright.training.progressive import smallest
from convwright.training.run_plan import Plan

LEAST_SHARE = 0.005
"""Smallest share of a mixed label that is named."""


@dataclass(frozen=True)
class AugmentedImage(Brief):
    """A training image and versions of it."""

    name: str
    """Name of its file, or its position in the training split."""
    label: str
    """Its class, or its classes."""
    original: torch.Tensor
    """C x H x W, uint8, as it is stored: larger than the network's input where crops are cut from larger images."""
    versions: torch.Tensor
    """V x C x H x W, uint8: what the network sees."""
    labels: tuple[tuple[tuple[str, float], ...], ...]
    """Of each version, the classes of its label with their shares."""


@dataclass(frozen=True)
class AugmentedImages(FigureResult):
    """Training images as they are, and as the network would see them in as many steps as there are versions."""

    data: str
    resolution: str
    augmentation: dict[str, Any]
    """Fields of the recipe that change images, and their values."""
    images: tuple[AugmentedImage, ...]
    growing_from: str | None = None
    """Size of the first images of a recipe whose images grow."""
    unchanged: str = ""
    """Why the first epochs see unchanged images; empty if they do not."""

    @property
    def title(self) -> str:
        """Heading of a page that shows the images."""
        return "Augmented training images"

    @property
    def summary(self) -> str:
        """Data, size and augmentation in two sentences."""
        versions = len(self.images[0].versions)
        how = ", ".join(f"{name} {_written(value)}" for name, value in self.augmentation.items()) or "none"
        return (
            f"{counted(len(self.images), 'training image')} of {printable(self.data)} at {self.resolution} px, "
            f"{counted(versions, 'version')} of each. Augmentation: {how}."
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """What the pictures do not show."""
        notes = []
        if self.unchanged:
            notes.append(self.unchanged)
        if self.growing_from:
            notes.append(f"images grow during training, from {self.growing_from} px to {self.resolution} px")
        if not self.augmentation:
            notes.append("no option changes the images: the network sees the originals")
        return tuple(notes)

    def to_dict(self) -> dict[str, object]:
        """Return augmentation, images by name and the labels of their versions."""
        return {
            "data": self.data,
            "resolution": self.resolution,
            "augmentation": self.augmentation,
            "images": [
                {"image": each.name, "class": each.label, "labels": [dict(labels) for labels in each.labels]}
                for each in self.images
            ],
            "notes": list(self.notes),
        }

    def blocks(self) -> Iterable[Block]:
        """Yield summary and notes; the pictures are figures."""
        yield Lines("\n".join([self.summary, *self.notes]))

    def save_html(self, path: str | Path) -> None:
        """Write the images and their versions as one HTML file.

        Args:
            path: The file; it is replaced if it exists.
        """
        from convwright.display.pages import write_figures

        write_figures(Path(path), title=self.title, summary=self.summary, figures=self.figures())

    def figures(self) -> Sequence[Figure]:
        """Return one figure: a row of pictures for each image, the original first."""
        caption = (
            "In each row the stored image, then versions of it as the network sees them, each drawn as in a training "
            "step of its own. Grey where erased or turned in from outside: the mean colour of the images."
        )
        return [
            Figure(
                "versions",
                "What the network sees",
                caption,
                galleries=tuple(map(_gallery, self.images)),
                findings=self.notes,
            )
        ]


def augmented_images(plan: Plan, *, count: int = 8, versions: int = 5) -> AugmentedImages:
    """Return training images beside versions of them, drawn as the plan's run draws them.

    Args:
        plan: A resolved request.
        count: Number of images: the first that the run shows.
        versions: Number of versions of each.
    """
    data, config = plan.data, plan.config
    batches = training_batches(config, data)
    steps = range(-(-count // batches.batch_size))
    rows = torch.cat([batches.rows_at(step) for step in steps])[:count]
    drawn = [batches.augmented(rows, step) for step in range(versions)]
    pixels = torch.stack([_as_uint8(images, data) for images, _ in drawn], 1)
    shares = [_shares(labels, data) for _, labels in drawn]
    originals = batches.stored(rows)
    images = tuple(
        AugmentedImage(
            data.train.names[row] if data.train.names else str(row),
            ", ".join(name for name, _ in _shares(data.train.labels[row : row + 1], data)[0]) or "no class",
            originals[index],
            pixels[index],
            tuple(labels[index] for labels in shares),
        )
        for index, row in enumerate(rows.tolist())
    )
    recipe = config.recipe
    defaults = Augmentation()
    chosen = {each.name: getattr(recipe, each.name) for each in fields(Augmentation)}
    if not recipe.crop_scale:
        del chosen["crop_ratio"]
    changed = {name: value for name, value in chosen.items() if value != getattr(defaults, name)}
    first = smallest(data.resolution) if recipe.progressive else data.resolution
    growing = format_sides(first) if sides(first) != data.size else None
    frozen = recipe.freeze_epochs
    unchanged = f"for the first {counted(frozen, 'epoch')} the images are not changed: only the classifier is trained"
    return AugmentedImages(
        data.name, format_sides(data.resolution), changed, images, growing, unchanged if frozen else ""
    )


def _as_uint8(images: torch.Tensor, data: Dataset) -> torch.Tensor:
    """Return normalised images as pixels."""
    mean, std = (torch.tensor(values).view(-1, 1, 1) * 255 for values in (data.mean, data.std))
    return (images * std + mean).round().clamp(0, 255).to(torch.uint8)


def _shares(labels: torch.Tensor, data: Dataset) -> list[tuple[tuple[str, float], ...]]:
    """Return of each image the names of its classes and their shares, the largest first."""
    classes = [printable(name) for name in data.classes]
    if labels.ndim == 1:
        return [((classes[label], 1.0),) for label in labels.tolist()]
    shares = labels[:, : len(classes)].float().tolist()
    named = [[(classes[i], share) for i, share in enumerate(row) if share > LEAST_SHARE] for row in shares]
    return [tuple(sorted(row, key=lambda pair: -pair[1])) for row in named]


def _gallery(image: AugmentedImage) -> Gallery:
    pictures = [_picture(image.original, f"{image.label}, {image.name}", ("original", _size(image.original)))]
    for index, (version, labels) in enumerate(zip(image.versions, image.labels, strict=True), 1):
        mixed = [(name, share) for name, share in labels if share < 1]
        lines = [str(index), *(f"{name} {share:.0%}" for name, share in mixed)]
        pictures.append(_picture(version, f"{image.label}, version {index}", tuple(lines)))
    return Gallery(f"{image.label}: {image.name}", tuple(pictures), columns=len(pictures))


def _picture(pixels: torch.Tensor, alt: str, lines: tuple[str, ...]) -> Picture:
    array = as_pixels(pixels)
    return Picture(data_uri(array), alt, lines, is_small(array))


def _size(image: torch.Tensor) -> str:
    return f"{image.shape[1]} × {image.shape[2]} px"


def _written(value: object) -> str:
    if value is True:
        return "on"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
