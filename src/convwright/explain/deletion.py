"""Does a map mean something? What a network says when the pixels that a map finds relevant go, or come.

Deletion and insertion (Petsiuk et al. 2018): the class's probability is followed while pixels are removed, or put
into a blurred image, the most relevant first; the area under that curve is the score. A map that shows what matters
makes the probability fall fast (a low deletion score) and rise fast (a high insertion score). Random maps of the same
coarseness tell what the scores are worth: blots of that size harm any image.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import nn
from torchvision.transforms.functional import gaussian_blur

from convwright.arch import Network
from convwright.errors import UsageError
from convwright.explain.activation import ActivationMaps, Subject, batches, module_of, stretched
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
    """The class's probability, N x (steps + 1), while ever more of each image is changed."""

    deletion: np.ndarray
    insertion: np.ndarray

    @property
    def deletion_scores(self) -> np.ndarray:
        """Area under each image's deletion curve, N; low where the map shows what matters."""
        return _areas(self.deletion)

    @property
    def insertion_scores(self) -> np.ndarray:
        """Area under each image's insertion curve, N; high where the map shows what matters."""
        return _areas(self.insertion)


@dataclass(frozen=True)
class MapScores:
    """What one network's maps achieve, and what random ones of the same coarseness do on the same images."""

    maps: Curves
    random: Curves

    def values(self) -> dict[str, np.ndarray]:
        """Return each image's figures by name, N each; `gain` is what the map achieves beyond the random one."""
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
        """Return the mean of each figure over the images."""
        return {name: Estimate.of(values) for name, values in self.values().items()}

    def minus(self, other: "MapScores") -> "dict[str, Estimate]":
        """Return the mean difference of each figure from another network's, image by image."""
        mine, others = self.values(), other.values()
        if len(mine["deletion"]) != len(others["deletion"]):
            raise UsageError("only scores of the same images can be compared")
        return {name: Estimate.of(values - others[name]) for name, values in mine.items()}


@dataclass(frozen=True)
class Estimate:
    """A mean over images, with its 95 % interval (Student's); one image alone has none."""

    mean: float
    interval: tuple[float, float] | None
    images: int

    @classmethod
    def of(cls, values: np.ndarray) -> "Estimate":
        """Take the mean of one value an image."""
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
    """Score the maps that `cam` made of the same images.

    steps: into how many equal parts the pixels are divided. removed: what takes a pixel's place where it is deleted:
    the training images' mean colour (for a torch module, zeros), black, or what the blurred image has there. blur:
    standard deviation of the blur, as a share of the image's side. batch_size: the most changed images that the network
    reads at once; None: as many as in evaluation. progress is told the number of images of each batch done. Raises
    UsageError for what cannot be, and ConvwrightError for an image that cannot be read.
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
            work = _Work(module, batch, blurred, instead, maps.targets[done : rows.stop], at_once)
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
    """UsageError for steps and replacements of pixels that there are not."""
    if steps < 1:
        raise UsageError(f"pixels are removed in 1 step or more, not {steps}")
    if removed not in REMOVED:
        raise UsageError(f"removed pixels become {', '.join(REMOVED[:-1])} or {REMOVED[-1]}, not {removed!r}")


def _at_once(module: nn.Module) -> int:
    network = getattr(module, "network", None)
    return batch_for(network) if isinstance(network, Network) else LARGEST_BATCH


@dataclass(frozen=True)
class _Work:
    """A batch of images, and what becomes of their pixels."""

    module: nn.Module
    images: torch.Tensor
    blurred: torch.Tensor
    removed: torch.Tensor
    targets: Sequence[int]
    at_once: int
    """The most images that the module reads at once."""

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
        chances = torch.unflatten(scores_of(self.module, mixed).float().softmax(1), 0, changed.shape[:2])
        targets = torch.tensor(self.targets, device=chances.device)
        chosen = chances.gather(2, targets[:, None, None].expand(-1, chances.shape[1], 1))[..., 0]
        return np.asarray(chosen.cpu())


def random_grids(size: Sequence[int], rows: Iterable[int], seed: int) -> torch.Tensor:
    """Return N x h x w uniform random values, the same for an image's number on any network."""
    height, width = size
    return torch.stack([torch.rand(height, width, generator=_generator(seed, "random map", row)) for row in rows])


def _ranks(maps: torch.Tensor, rows: Iterable[int], seed: int) -> torch.Tensor:
    """Return each pixel's place, N x H x W, the most relevant first; equal ones are put in random order."""
    flat = maps.flatten(1)
    shuffles = torch.stack([torch.randperm(flat.shape[1], generator=_generator(seed, "ties", row)) for row in rows])
    order = flat.gather(1, shuffles).argsort(dim=1, descending=True, stable=True)
    return shuffles.gather(1, order).argsort(1).view(maps.shape)


def _generator(seed: int, purpose: str, row: int) -> torch.Generator:
    return torch.Generator().manual_seed(derive(seed, purpose, row))


def _blurred(images: torch.Tensor, share: float) -> torch.Tensor:
    """Blur over a share of the side, as far out as the image's edges can be mirrored."""
    side = min(images.shape[-2:])
    if side < 2:
        return images
    sigma = max(share * side, 0.1)
    reach = min(max(1, round(3 * sigma)), side - 1)
    across = gaussian_blur(images, [2 * reach + 1, 1], [sigma, 1.0])  # both at once would take the square of the time
    blurred: torch.Tensor = gaussian_blur(across, [1, 2 * reach + 1], [1.0, sigma])
    return blurred


def _black(subject: Subject, images: torch.Tensor) -> torch.Tensor:
    if isinstance(subject, nn.Module):
        raise UsageError("what is black for a torch module is not known; remove pixels by mean (zeros) or blur")
    black = torch.zeros(1, images.shape[1], 1, 1, dtype=torch.uint8)
    return subject.normalised(black).expand_as(images)


def _check_same(same: bool, maps: ActivationMaps) -> None:
    if not same:
        raise UsageError(f"there are maps of {len(maps)} images, and not as many images to score them on")


def _areas(curves: np.ndarray) -> np.ndarray:
    """Return the area under each curve over the share of pixels changed, 0 to 1, by trapezoids."""
    return np.asarray((curves[:, 1:] + curves[:, :-1]).mean(1) / 2)


def each_score(result: MapScores) -> Iterator[dict[str, float]]:
    """Yield each image's figures by name."""
    values = result.values()
    for row in range(len(values["deletion"])):
        yield {name: float(column[row]) for name, column in values.items()}
