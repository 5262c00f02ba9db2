"""Excitations: SENet's Figures 6 and 7 (section 7.2) for any module with squeeze-and-excitation."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass

import torch
from torch import nn

from convwright.brief import Brief
from convwright.data import Dataset, Split
from convwright.data.images import printable
from convwright.display.wording import counted, listed
from convwright.errors import ArgumentError, UsageError
from convwright.evaluation.assessment import batches_of, class_order, labels_in
from convwright.explain.excitation_gates import gates, recording
from convwright.prediction.network import Predictor
from convwright.training.evaluation import outputs

NEAR_ONE = 0.9
"""A channel whose mean excitation is at least this is saturated."""
FEW_NAMED = 5
"""Most classes that are named as not shown."""
SHOWN = 4
"""Number of classes that are drawn where none are named."""
MOST_SHOWN = 7
"""More curves are indistinguishable; an eighth colour is that of all images."""
FEWEST_IMAGES = 5
"""A class of fewer images is not drawn: its mean and spread would be those of single images."""
ROUNDING = 1e-12
"""Largest variance of a constant, as a share of the mean square."""

DEFINITION = (
    "An excitation is the factor, here from 0 to 1, by which squeeze-and-excitation multiplies a channel of one image. "
    "Spread: its standard deviation over the images of one class, averaged over channels and classes. Saturated: the "
    "share of channels whose mean excitation over all images is near one. Class-specific: the share of the variance "
    "over all images, summed over channels, that lies between classes, less what chance alone puts there (epsilon "
    "squared); 0 if all classes are gated alike, 1 if all images of a class are."
)
SEVERAL_LABELS = "A multi-label image counts once for each of its classes; in the mean over all images it counts once."
"""Added to the definition where images have several labels."""


@dataclass(frozen=True, eq=False)
class BlockExcitation(Brief):
    """The excitations of one gate."""

    name: str
    """Path of the gate in the module."""
    mean: torch.Tensor
    """classes x channels, float64; over the images of each class, NaN where it has none."""
    std: torch.Tensor
    """classes x channels, float64: standard deviation over the images of each class."""
    counts: torch.Tensor
    """classes: how many images of each."""
    over_images: torch.Tensor | None = None
    """channels: the mean over all images, where these have several labels or none; None: that over classes."""

    @property
    def channels(self) -> int:
        """Number of channels."""
        return self.mean.shape[1]

    @property
    def overall(self) -> torch.Tensor:
        """channels: the mean over all images."""
        return self._averaged(self.mean) if self.over_images is None else self.over_images

    @property
    def between(self) -> torch.Tensor:
        """channels: the variance of the class means, each weighted by its number of images."""
        return self._averaged((self.mean - self._averaged(self.mean)) ** 2)

    @property
    def within(self) -> torch.Tensor:
        """channels: the variance within classes."""
        return self._averaged(self.std**2)

    @property
    def spread(self) -> float:
        """The standard deviation within a class, averaged over channels and classes."""
        return float(self._averaged(self.std).mean())

    @property
    def variation(self) -> float:
        """The standard deviation over all images, averaged over channels: 0 for a gate that is a constant."""
        return float((self.between + self.within).sqrt().mean())

    @property
    def present(self) -> torch.Tensor:
        """classes, bool: those that have images."""
        return self.counts > 0

    @property
    def specificity(self) -> float | None:
        """The share of the variance that lies between classes, 0 to 1; 0 for a gate that is a constant.

        The measure is epsilon squared: with few images of each of many classes, the means of classes differ by chance,
        and the plain share (eta squared) is close to 1. None where no class has a second image.
        """
        images, classes = int(self.counts.sum()), int(self.present.sum())
        if images <= classes:
            return None
        between, total = float(self.between.sum()), float((self.between + self.within).sum())
        if total <= ROUNDING * float((self.overall**2).sum()):
            return 0.0
        return min(1.0, max(0.0, 1 - (1 - between / total) * (images - 1) / (images - classes)))

    def saturation(self, threshold: float = NEAR_ONE) -> float:
        """The share of channels whose mean excitation is at least the threshold."""
        return float((self.overall >= threshold).double().mean())

    def _averaged(self, values: torch.Tensor) -> torch.Tensor:
        """Average over the classes, each weighted by its number of images."""
        counts = self.counts[self.present].double()
        return (counts[:, None] * values[self.present]).sum(0) / counts.sum()


@dataclass(frozen=True, eq=False)
class MeasuredExcitations(Brief):
    """The excitations of a whole network on some images."""

    network: str
    classes: tuple[str, ...]
    images: int
    split: str
    """Name of the images: val, test or train."""
    blocks: tuple[BlockExcitation, ...]
    """In the order in which the network runs them."""
    multi_label: bool = False
    """Whether images have several labels."""

    @property
    def definition(self) -> str:
        """What the figures mean."""
        return f"{DEFINITION} {SEVERAL_LABELS}" if self.multi_label else DEFINITION

    @property
    def counts(self) -> torch.Tensor:
        """classes: how many images of each."""
        return self.blocks[0].counts

    def counted(self, index: int) -> str:
        """Return the name of a class with its number of images."""
        return f"{self.classes[index]} ({counted(int(self.counts[index]), 'image')})"

    def too_few(self) -> str:
        """Return a sentence on the classes that have too few images to be drawn; empty where there are none."""
        few = [index for index, images in enumerate(self.counts.tolist()) if images < FEWEST_IMAGES]
        if not few:
            return ""
        names = listed([self.counted(index) for index in few[:FEW_NAMED]]) if len(few) <= FEW_NAMED else ""
        which = counted(len(few), "class", "classes") + (f": {names}" if names else f" of {len(self.classes):,}")
        return f"Not shown, as fewer than {FEWEST_IMAGES} images show too little: {which}."


def run_excitations(
    predictor: Predictor, data: Dataset, split: Split, which: str, after_batch: Callable[[int], None] | None = None
) -> MeasuredExcitations:
    """Measure the excitations of a trained network on a split of a data set with the same classes.

    Args:
        predictor: The network.
        data: The data set.
        split: Images of the data set.
        which: Name of the split.
        after_batch: Function that is called with the number of images of each batch done.

    Raises:
        NetworkError: The network has no squeeze-and-excitation.
        DataError: The classes of the data are not those of the network.
    """
    order = class_order(data.classes, predictor.classes, data.name)
    read = batches_of(predictor, [split])
    classes, name = predictor.classes, predictor.network.name
    batches = ((predictor.normalised(images), labels_in(order, labels, len(classes))) for images, labels in read)
    return measure_excitations(
        predictor.module, batches, classes, name=name, which=which, device=predictor.device, after_batch=after_batch
    )


def measure_excitations(
    module: nn.Module,
    batches: Iterable[tuple[torch.Tensor, torch.Tensor]],
    classes: Sequence[str],
    *,
    name: str | None = None,
    which: str = "given",
    device: torch.device | str = "cpu",
    after_batch: Callable[[int], None] | None = None,
) -> MeasuredExcitations:
    """Measure the excitations of any module with squeeze-and-excitation that `excitation_gates` recognises.

    Args:
        module: The module; each of its parts keeps its mode.
        batches: Images N x C x H x W as the module reads them, and labels: int64 N, or bool N x classes.
        classes: Names of the classes.
        name: Name of the network; by default the class of the module.
        which: Name of the images.
        device: Where the module is.
        after_batch: Function that is called with the number of images of each batch done.

    Raises:
        NetworkError: The module has no squeeze-and-excitation.
        UsageError: There are no images, or none has a class.
    """
    sums = {path: _Sums(len(classes)) for path in gates(module)}
    seen: dict[str, torch.Tensor] = {}

    def labelled() -> Iterable[tuple[torch.Tensor, torch.Tensor]]:
        for images, labels in batches:
            seen["labels"] = labels.cpu()
            yield images, labels

    def note(path: str, factors: torch.Tensor) -> None:
        sums[path].add(factors, seen["labels"])

    with recording(module, note), closing(outputs(module, labelled(), device)) as results:
        for _, labels in results:
            if after_batch:
                after_batch(len(labels))
    blocks = [part.statistics(path) for path, part in sums.items() if part.counts.sum()]
    images = max(part.images for part in sums.values())
    multi_label = any(part.over_images is not None for part in sums.values())
    if not blocks:
        what = "images with a class" if images else "images"
        raise UsageError(f"there are no {what} to measure excitations on")
    title = name or type(module).__name__
    return MeasuredExcitations(title, tuple(classes), images, which, tuple(blocks), multi_label)


def chosen_classes(
    classes: Sequence[str], wanted: str | Sequence[str] | None = None, counts: torch.Tensor | None = None
) -> tuple[int, ...]:
    """Return the indices of classes by name, or of four spread over all.

    Args:
        classes: Names of all classes.
        wanted: Names of the classes to draw; None for four spread over all.
        counts: Number of images of each class; classes of fewer than five images are not drawn.

    Returns:
        The indices; none where no class has enough images.

    Raises:
        UsageError: A class does not exist or has too few images, or there are too many classes for one figure.
    """
    if wanted is None:
        present = [index for index in range(len(classes)) if counts is None or counts[index] >= FEWEST_IMAGES]
        if not present:
            return ()
        last = len(present) - 1
        return tuple(dict.fromkeys(present[round(last * place / (SHOWN - 1))] for place in range(SHOWN)))
    wanted = [wanted] if isinstance(wanted, str) else wanted
    if not wanted:
        raise ArgumentError("classes", "name classes to draw; none is given")
    for name in wanted:
        if name not in classes:
            known = ", ".join(map(printable, classes[:12])) + (", ..." if len(classes) > 12 else "")
            raise ArgumentError("classes", f"no class is named {printable(name)!r}; there are {known}")
    indices = tuple(dict.fromkeys(classes.index(name) for name in wanted))
    if len(indices) > MOST_SHOWN:
        raise ArgumentError("classes", f"a figure distinguishes {MOST_SHOWN} classes at most, not {len(indices)}")
    for index in indices:
        if counts is not None and counts[index] < FEWEST_IMAGES:
            given = counted(int(counts[index]), "image") if counts[index] else "no images"
            raise ArgumentError(
                "classes",
                f"class {printable(classes[index])!r} has {given}; a figure needs {FEWEST_IMAGES} images of a class",
            )
    return indices


class _Sums:
    """Sums over the images that one gate has processed so far."""

    def __init__(self, classes: int) -> None:
        self.counts = torch.zeros(classes, dtype=torch.int64)
        self.images = 0
        self.over_images: torch.Tensor | None = None
        """channels: sum over images with several labels, each counted once."""
        self.sums: torch.Tensor | None = None
        """2 x classes x channels: sums of the excitations and of their squares."""

    def add(self, factors: torch.Tensor, labels: torch.Tensor) -> None:
        """Add the excitations of a batch, N x C, with labels N, or bool N x classes."""
        factors = factors.cpu().double()
        self.images += len(factors)
        if labels.ndim == 2:
            self.over_images = factors.sum(0) + (0.0 if self.over_images is None else self.over_images)
            rows, labels = labels.nonzero(as_tuple=True)
            factors = factors[rows]
        if self.sums is None:
            self.sums = torch.zeros(2, len(self.counts), factors.shape[1], dtype=torch.float64)
        self.sums[0].index_add_(0, labels, factors)
        self.sums[1].index_add_(0, labels, factors**2)
        self.counts += torch.bincount(labels, minlength=len(self.counts))

    def statistics(self, path: str) -> BlockExcitation:
        """Return means and deviations; those of a class without images are NaN."""
        assert self.sums is not None
        mean, squares = self.sums / self.counts[None, :, None]
        over_images = None if self.over_images is None else self.over_images / self.images
        return BlockExcitation(path, mean, (squares - mean**2).clamp(min=0).sqrt(), self.counts, over_images)
