"""A frozen backbone: only the classifier is trained, on features that are computed once."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import fields, replace
from pathlib import Path

import torch

from convwright.data import Augmentation, Dataset, evaluation_batches
from convwright.data.memory import check_features_fit
from convwright.finite import check_finite
from convwright.training.allocator import kept_memory
from convwright.training.backbone import Backbone
from convwright.training.config import Recipe
from convwright.training.feature_cache import FeatureCache, Pixels

BATCH = 16
"""Images at a time: few enough for the processor's cache, which is 1.5 times as fast as 256."""

_cache: ContextVar[FeatureCache | None] = ContextVar("features of frozen backbones", default=None)


def can_keep_features(recipe: Recipe) -> bool:
    """Return whether a frozen backbone sees the same images in every epoch."""
    augmentation = Augmentation(**recipe.model_dump(include={each.name for each in fields(Augmentation)}))
    return recipe.freeze and augmentation == Augmentation() and not recipe.progressive


class Features(Dataset):
    """A data set whose images are a backbone's features: floats, N x C x 1 x 1."""

    def normalise(self, images: torch.Tensor) -> torch.Tensor:
        """Return features unchanged."""
        return images


@contextmanager
def keeping_features(folder: Path | None = None) -> Iterator[None]:
    """Keep the features that are computed inside, so that runs with the same backbone and images share them.

    Args:
        folder: Folder in which they are kept too, for later processes; the caller removes it.
    """
    token = _cache.set(FeatureCache(folder))
    try:
        yield
    finally:
        _cache.reset(token)


def has_features(backbone: Backbone, data: Dataset) -> bool:
    """Return whether features of a backbone and images are kept, so that `features_of` takes no time."""
    cache = _cache.get()
    return cache is not None and _key(backbone, data) in cache


def _key(backbone: Backbone, data: Dataset) -> str:
    """Return a digest of all that features depend on."""
    whole = hashlib.blake2b(digest_size=16)
    parts = (len(data.train), len(data.val), data.fingerprint, data.mean, data.std)
    whole.update(f"{backbone} {parts}".encode("utf-8", "backslashreplace"))
    for name, tensor in backbone.state_dict().items():
        whole.update(name.encode())
        whole.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return whole.hexdigest()


def features_of(backbone: Backbone, data: Dataset, after_batch: Callable[[int, int], None] | None = None) -> Features:
    """Run a backbone, in evaluation mode, over the images to train and to validate on.

    Inside `keeping_features`, features that have been computed before are returned at once.

    Args:
        backbone: Layers that map images to features.
        data: The images.
        after_batch: Called after each batch with the number of images done, and of all images.

    Raises:
        OutOfMemoryError: The features do not fit into memory.
        NotFiniteError: A feature is NaN or infinite.
    """
    cache = _cache.get()
    if cache is None:
        return compute_features(backbone, data, after_batch)
    key = _key(backbone, data)
    if (known := cache.get(key)) is not None:
        return _with_pixels(data, known)
    found = compute_features(backbone, data, after_batch)
    cache.put(key, (found.train.images, found.val.images))
    return found


def compute_features(
    backbone: Backbone, data: Dataset, after_batch: Callable[[int, int], None] | None = None
) -> Features:
    """Compute what `features_of` returns, whether or not it is kept."""
    backbone.eval()
    infer = backbone.inference()
    total, done = len(data.train) + len(data.val), 0
    outputs: list[torch.Tensor] = []
    with kept_memory():
        for part in (data.train, data.val):
            stored: torch.Tensor | None = None
            start = 0
            for images, _ in evaluation_batches(part, data, BATCH):
                found = infer(images).cpu()
                check_finite(found, "the frozen backbone")
                if stored is None:
                    check_features_fit(total, found[0].numel())
                    stored = torch.empty(len(part), *found.shape[1:])
                stored[start : start + len(found)] = found
                start += len(found)
                done += len(found)
                if after_batch:
                    after_batch(done, total)
            outputs.append(torch.empty(0, 1, 1, 1) if stored is None else stored)
    return _with_pixels(data, (outputs[0], outputs[1]))


def _with_pixels(data: Dataset, pixels: Pixels) -> Features:
    """Return the data set with features instead of its training and validation images."""
    train, val = (
        replace(part, store=store, rows=None, known=None, larger=None)
        for part, store in zip((data.train, data.val), pixels, strict=True)
    )
    values = {each.name: getattr(data, each.name) for each in fields(Dataset)}
    return replace(Features(**values), train=train, val=val)
