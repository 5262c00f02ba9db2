"""Digests of a run's training images, by which they are recognised: `training_images.safetensors`."""

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from convwright import json_text
from convwright.brief import Brief
from convwright.data import Dataset
from convwright.errors import RunError
from convwright.training.records import check_version
from convwright.training.run import Run

NAME = "training_images.safetensors"
VERSION = 1
"""Version of the format, in the file's metadata."""
FACTS = "convwright"
"""Entry of the file's metadata that holds everything beside the digests, as JSON."""
DIGEST_BYTES = 8
"""Bytes of a digest that are kept: of ten million images, no two different ones agree by chance (p < 1e-5)."""


@dataclass(frozen=True, eq=False)
class TrainingImages(Brief):
    """The images that a run was trained on, as digests of their pixels."""

    digests: torch.Tensor
    """N, int64, sorted: the first eight bytes of the digest of each image."""
    shape: tuple[int, int, int]
    """Channels, height and width of the images that the digests are of."""

    @classmethod
    def of(cls, data: Dataset) -> "TrainingImages":
        """Return the training images of a data set."""
        return cls(shortened(data.train.traits().digests).sort().values, (data.channels, *data.size))

    def contain(self, digests: torch.Tensor) -> torch.Tensor:
        """Return for each digest, N int64, whether an image with these pixels was trained on, N bool."""
        places = torch.searchsorted(self.digests, digests).clamp(max=len(self.digests) - 1)
        return self.digests[places] == digests

    def to_bytes(self) -> bytes:
        """Return the content of the file."""
        facts = json_text.dump({"schema_version": VERSION, "shape": list(self.shape)})
        return save({"digests": self.digests}, {FACTS: facts})  # one entry: several are written in random order

    @classmethod
    def parse(cls, content: bytes, path: Path) -> "TrainingImages":
        """Return what a file holds.

        Args:
            content: Content of the file.
            path: The file, for error messages.

        Raises:
            RunError: The file is damaged, or of a later version.
        """
        try:
            digests = load(content)["digests"]
            facts = json_text.parse(content[8 : 8 + int.from_bytes(content[:8], "little")], path, RunError)
            facts = json_text.parse(facts["__metadata__"][FACTS], path, RunError)
            channels, height, width = facts["shape"]
        except (SafetensorError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise RunError(f"{path}: not a readable file of digests: {str(error) or type(error).__name__}") from None
        check_version(facts.get("schema_version"), VERSION, path)
        if digests.dtype != torch.int64 or digests.ndim != 1 or not len(digests):
            raise RunError(f"{path}: digests must be 64-bit integers in one row, at least one of them")
        return cls(digests.sort().values, (channels, height, width))


def shortened(digests: torch.Tensor) -> torch.Tensor:
    """Return the first eight bytes of digests, uint8 N x 16, as numbers, int64 N."""
    return digests[:, :DIGEST_BYTES].contiguous().view(torch.int64)[:, 0]


def training_images_file(data: Dataset) -> dict[str, bytes]:
    """Return the file that a run directory keeps, by name."""
    return {NAME: TrainingImages.of(data).to_bytes()}


def training_images_of(run: Run) -> TrainingImages | None:
    """Return the recorded training images of a run; None for a run of an earlier version.

    Raises:
        RunError: The file is damaged.
    """
    path = run.path / NAME
    return TrainingImages.parse(run.files.read(NAME), path) if path.exists() else None
