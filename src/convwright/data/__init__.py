"""Images with labels: where they come from, how they are decoded, and batches addressed by step."""

from .augmentation import Augmentation
from .batches import Batches, evaluation_batches
from .builtin import best_at_hand
from .dataset import Dataset, Split
from .images import read_image
from .sources import SOURCES, open_dataset

__all__ = [
    "SOURCES",
    "Augmentation",
    "Batches",
    "Dataset",
    "Split",
    "best_at_hand",
    "evaluation_batches",
    "open_dataset",
    "read_image",
]
