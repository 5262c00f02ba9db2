"""Images with labels: where they come from, how they are decoded, and batches addressed by step.

Names are looked up when they are used, so that decoding an image alone loads no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from convwright.data.augmentation import Augmentation
    from convwright.data.batches import Batches, evaluation_batches
    from convwright.data.builtin import default_source
    from convwright.data.dataset import Dataset, Parts, Split
    from convwright.data.images import read_image
    from convwright.data.opened import Data
    from convwright.data.registry import SOURCES, Source
    from convwright.data.sources import open_dataset

__all__ = [
    "SOURCES",
    "Augmentation",
    "Batches",
    "Data",
    "Dataset",
    "Parts",
    "Source",
    "Split",
    "default_source",
    "evaluation_batches",
    "open_dataset",
    "read_image",
]

_PLACES = {
    "SOURCES": "registry",
    "Augmentation": "augmentation",
    "Batches": "batches",
    "Data": "opened",
    "Dataset": "dataset",
    "Parts": "dataset",
    "Source": "registry",
    "Split": "dataset",
    "default_source": "builtin",
    "evaluation_batches": "batches",
    "open_dataset": "sources",
    "read_image": "images",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'convwright.data' has no attribute {name!r}")
    return getattr(import_module(f"convwright.data.{_PLACES[name]}"), name)
