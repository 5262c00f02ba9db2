"""Faithfulness of maps: the class's probability while the pixels that a map marks as relevant are removed or added.

Deletion and insertion (Petsiuk et al. 2018): the class's probability is followed while pixels are removed, or put
into a blurred image, the most relevant first; the score is the area under that curve. A faithful map makes the
probability fall fast (a low deletion score) and rise fast (a high insertion score). Random maps of the same coarseness
are the baseline, since removing regions of that size harms any image.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import nn
from torchvision.transforms.functional import gaussian_blur

from convwright.arch import Network
from convwright.brief import Brief
from convwright.errors import UsageError
from convwright.explain.activation import (
    ActivationMaps,
    Subject,
    batches,
    has_several_labels,
    module_of,
    probabilities_of,
    stretched,
    temperature_of,
)
from convwright.explain.target import scores_of
from convwright.prediction.network import AnyImage
from convwright.seeds import derive
from convwright.stats.means import student_half_width
from convwright.training.evaluation import LARGEST_BATCH, batch_for, evaluating

STEPS = 32
BLUR = 1 / 8
"""Standard deviation of the blur, as a share of the image's side: enough to hide what is shown."""
Removed = Literal["mean", "black", "blur"]
REMOVED: tuple[str, ...] = Removed.__args__  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Curves:
    """The class's probability, N x (steps + 1), while more and more of each image is changed."""

    deletion: np.ndarray
    insertion: np.ndarray

    @property
    def deletion_scores(self) -> np.ndarray:
        """Area under each image's deletion curve, N; low for a faithful map."""
        return _areas(self.deletion)

    @property
    def insertion_scores(self) -> np.ndarray:
        """Area under each image's insertion curve, N; high for a faithful map."""
        return _areas(self.insertion)


@dataclass(frozen=True)
class MapScores(Brief):
    """Curves of one network's maps, and of random maps of the same coarseness on the same images."""

    maps: Curves
    random: Curves

    def values(self) -> dict[str, np.ndarray]:
        """Return the scores of each image by name, N each; a `gain` is the improvement over the random map."""
        deletion, insertion = self.maps.deletion_scores, self.maps.insertion_scores
        by_chance = self.random.deletion_scores, self.random.insertion_scores
        return {
            "deletion": deletion,
            "insertion": insertion,
            "random_deletion": by_chance[0],
            "random_insertion": by_chance[1],
            "deletion_gain": by_chance[0] - deletion,
            "insertion_gain": insertion - by_chance[1],
        }

    def estimates(self) -> "dict[str, Estimate]":
        """Return the mean of each score over the images."""
        return {name: Estimate.of(values) for name, values in self.values().items()}

    def minus(self, other: "MapScores") -> "dict[str, Estimate]":
        """Return the mean difference of each score from another network's, image by image."""
        mine, others = self.values(), other.values()
        if len(mine["deletion"]) != len(others["deletion"]):
            raise UsageError("only scores of the same images can be compared")
        return {name: Estimate.of(values - others[name]) for name, values in mine.items()}


@dataclass(frozen=True)
class Estimate(Brief):
    """A mean over images, with its 95 % interval (Student's); None for a single image."""

    mean: float
    interval: tuple[float, float] | None
    images: int

    @classmethod
    def of(cls, values: np.ndarray) -> "Estimate":
        """Return the mean of one value for each image."""
        count, mean = len(values), float(np.mean(values))
        if count < 2:
            return cls(mean, None, count)
        half = student_half_width(float(np.std(values, ddof=1)), count)
        return cls(mean, (mean - half, mean + half), count)


def score_maps(
    subject: Subject,
    images: Iterable[AnyImage] | torch.Tensor,
    maps: ActivationMaps,
    *,
    steps: int = STEPS,
    removed: str = "mean",
    blur: float = BLUR,
    batch_size: int | None = None,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> MapScores:
    """Score the maps that `activation_maps` made of the same images.

    Args:
        subject: The predictor or torch module that the maps are of.
        images: The images that the maps are of.
        maps: The maps.
        steps: Number of equal parts into which the pixels of an image are divided.
        removed: What removed pixels become: `mean` (the training images' mean colour; zeros for a torch module),
            `black`, or `blur` (the pixel of the blurred image).
        blur: Standard deviation of the blur, as a share of the image's side.
        batch_size: Most changed images that the network reads at once; None for as many as in evaluation.
        seed: Seed of the random maps, and of the order of pixels with equal values.
        progress: Function that is called with the number of images of each batch done.

    Returns:
        The curves of the maps and of random maps.

    Raises:
        UsageError: An argument has a value that it cannot have, or the images are others than those of the maps.
        ConvwrightError: An image cannot be read.
    """
    check_scoring(steps, removed)
    if not 0 < blur <= 1:
        raise UsageError(f"the blur is a share of the image's side, above 0 and at most 1, not {blur:g}")
    module, done = module_of(subject), 0
    at_once = _at_once(module) if batch_size is None else batch_size
    if at_once < 1:
        raise UsageError(f"the batch size is 1 or more, not {at_once}")
    found: list[tuple[np.ndarray, ...]] = []
    with evaluating(module), torch.inference_mode():
        for batch in batches(subject, images, max(1, at_once // (steps + 1))):
            rows = range(done, done + len(batch))
            _check_same(rows.stop <= len(maps), maps)
            blurred = _blurred(batch, blur)
            instead = {"mean": torch.zeros_like(batch), "blur": blurred}.get(removed)
            instead = _black(subject, batch) if instead is None else instead
            targets = maps.targets[done : rows.stop]
            several, temperature = has_several_labels(subject), temperature_of(subject)
            work = _Work(module, batch, blurred, instead, targets, at_once, several, temperature)
            real = torch.from_numpy(maps.maps[done : rows.stop])
            chance = stretched(random_grids(maps.raw.shape[-2:], rows, seed), tuple(batch.shape[-2:]))
            ranks = [_ranks(one, rows, seed) for one in (real, chance)]
            found.append(tuple(curve for rank in ranks for curve in work.curves(rank.to(batch.device), steps)))
            done = rows.stop
            if progress:
                progress(len(batch))
    _check_same(done == len(maps), maps)
    parts = [np.concatenate(part) for part in zip(*found, strict=True)]
    return MapScores(Curves(*parts[:2]), Curves(*parts[2:]))


def check_scoring(steps: int, removed: str) -> None:
    """Raise UsageError for steps below 1 and unknown values of removed pixels."""
    if steps < 1:
        raise UsageError(f"pixels are removed in 1 step or more, not {steps}")
    if removed not in REMOVED:
        raise UsageError(f"removed pixels become {', '.join(REMOVED[:-1])} or {REMOVED[-1]}, not {removed!r}")


def _at_once(module: nn.Module) -> int:
    network = getattr(module, "network", None)
    return batch_for(network) if isinstance(network, Network) else LARGEST_BATCH


@dataclass(frozen=True)
class _Work:
    """A batch of images, and the values that their pixels are replaced by."""

    module: nn.Module
    images: torch.Tensor
    blurred: torch.Tensor
    removed: torch.Tensor
    targets: Sequence[int]
    at_once: int
    """The most images that the module reads at once."""
    multi_label: bool = False
    """Whether an image may have several classes."""
    temperature: float = 1.0
    """What scores are divided by before their softmax."""

    def curves(self, ranks: torch.Tensor, steps: int) -> tuple[np.ndarray, np.ndarray]:
        """Return N x (steps + 1) probabilities in deletion and in insertion, pixels changing in the order of ranks."""
        counts = torch.linspace(0, ranks[0].numel(), steps + 1, device=ranks.device).round()
        deletion, insertion = [], []
        for some in torch.split(counts, max(1, self.at_once // len(ranks))):
            changed = ranks[:, None] < some[:, None, None]  # N x steps x H x W
            deletion.append(self._probabilities(changed, self.removed, self.images))
            insertion.append(self._probabilities(changed, self.images, self.blurred))
        return np.concatenate(deletion, axis=1), np.concatenate(insertion, axis=1)

    def _probabilities(self, changed: torch.Tensor, after: torch.Tensor, before: torch.Tensor) -> np.ndarray:
        mixed = torch.where(changed[:, :, None], after[:, None], before[:, None]).flatten(0, 1)
        mixed = mixed.contiguous(memory_format=torch.channels_last)
        scores = probabilities_of(scores_of(self.module, mixed), self.temperature, multi_label=self.multi_label)
        chances = torch.unflatten(scores, 0, changed.shape[:2])
        targets = torch.tensor(self.targets, device=chances.device)
        chosen = chances.gather(2, targets[:, None, None].expand(-1, chances.shape[1], 1))[..., 0]
        return np.asarray(chosen.cpu())


def random_grids(size: Sequence[int], rows: Iterable[int], seed: int) -> torch.Tensor:
    """Return N x h x w uniform random values, the same for the same image number on any network."""
    height, width = size
    return torch.stack([torch.rand(height, width, generator=_generator(seed, "random map", row)) for row in rows])


def _ranks(maps: torch.Tensor, rows: Iterable[int], seed: int) -> torch.Tensor:
    """Return the rank of each pixel, N x H x W, the most relevant first; equal pixels are put in random order."""
    flat = maps.flatten(1)
    shuffles = torch.stack([torch.randperm(flat.shape[1], generator=_generator(seed, "ties", row)) for row in rows])
    order = flat.gather(1, shuffles).argsort(dim=1, descending=True, stable=True)
    return shuffles.gather(1, order).argsort(1).view(maps.shape)


def _generator(seed: int, purpose: str, row: int) -> torch.Generator:
    return torch.Generator().manual_seed(derive(seed, purpose, row))


def _blurred(images: torch.Tensor, share: float) -> torch.Tensor:
    """Blur with a standard deviation that is a share of the side; edges are mirrored where there are enough pixels."""
    side = min(images.shape[-2:])
    if side < 2:
        return images
    sigma = max(share * side, 0.1)
    reach = min(max(1, round(3 * sigma)), side - 1)
    across = gaussian_blur(
        images, [2 * reach + 1, 1], [sigma, 1.0]
    )  # a kernel in both directions at once would take the square of the time
    blurred: torch.Tensor = gaussian_blur(across, [1, 2 * reach + 1], [1.0, sigma])
    return blurred


def _black(subject: Subject, images: torch.Tensor) -> torch.Tensor:
    if isinstance(subject, nn.Module):
        raise UsageError("the value of black is unknown for a torch module; use mean (zeros) or blur")
    black = torch.zeros(1, images.shape[1], 1, 1, dtype=torch.uint8)
    return subject.normalised(black).expand_as(images)


def _check_same(same: bool, maps: ActivationMaps) -> None:
    if not same:
        raise UsageError(f"{len(maps)} maps were given for a different number of images")


def _areas(curves: np.ndarray) -> np.ndarray:
    """Return the area under each curve over the share of pixels changed, 0 to 1, by trapezoids."""
    return np.asarray((curves[:, 1:] + curves[:, :-1]).mean(1) / 2)


def each_score(result: MapScores) -> Iterator[dict[str, float]]:
    """Yield the scores of each image by name."""
    values = result.values()
    for row in range(len(values["deletion"])):
        yield {name: float(column[row]) for name, column in values.items()}
