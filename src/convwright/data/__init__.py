"""Images with labels: where they come from, how they are decoded, and batches addressed by step."""

from convwright.data.augmentation import Augmentation
from convwright.data.batches import Batches, evaluation_batches
from convwright.data.builtin import best_at_hand
from convwright.data.dataset import Dataset, Split
from convwright.data.images import read_image
from convwright.data.sources import SOURCES, open_dataset

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
