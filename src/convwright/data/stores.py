"""Stores of images that are read while training: the protocol."""

from typing import Protocol, runtime_checkable

import torch


@runtime_checkable
class PixelStore(Protocol):
    """Rows of uint8 images of one shape that are decoded when they are read.

    `read` is called by several threads at once, and its result depends on the rows only.
    """

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Number of images, channels, height and width."""

    def read(self, rows: torch.Tensor) -> torch.Tensor:
        """Return a new tensor of the images in these rows.

        Args:
            rows: int64 N, each from 0 to the number of images less one.

        Returns:
            uint8, N x C x H x W.

        Raises:
            DataError: An image can no longer be read.
        """
