"""Images that are decoded each time they are read, by other processes: for sets larger than memory and cache."""

import threading

import numpy as np
import torch

from convwright.data.decoders import Decoders, usable_cores
from convwright.data.digests import digest
from convwright.data.framing import Framing
from convwright.data.image_store import Shape
from convwright.data.items import Items
from convwright.errors import DataError
from convwright.printable import printable


class StreamedImages:
    """A store whose rows are the images of a collection, decoded by processes that start when the first is read.

    Args:
        items: The images.
        shape: Channels, height and width.
        framing: How images are cropped and resized.
        digests: Digests of the pixels that the images had when the data was opened, uint8 N x 16.
    """

    def __init__(self, items: Items, shape: Shape, framing: Framing, digests: torch.Tensor) -> None:
        self.items, self.framing = items, framing
        self._digests = digests
        self._shape = shape
        self._decoders: Decoders | None = None
        self._processes = usable_cores()
        self._lock = threading.Lock()

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Number of images, channels, height and width."""
        return len(self.items.names), *self._shape

    @property
    def processes(self) -> int:
        """Number of processes that decode; at first, one for each core."""
        return self._processes

    @processes.setter
    def processes(self, number: int) -> None:
        with self._lock:
            if number != self._processes:
                self._processes, self._decoders = number, None

    def read(self, rows: torch.Tensor) -> torch.Tensor:
        """Return a new tensor of the images in these rows.

        Args:
            rows: int64 N.

        Raises:
            DataError: An image can no longer be read, or has other pixels than when the data was opened.
            ConvwrightError: A process that decodes has ended.
        """
        with self._lock:
            if self._decoders is None:
                self._decoders = Decoders(self._processes)
            decoders = self._decoders
        numbers = rows.tolist()
        pixels = np.empty((len(numbers), *self._shape), np.uint8)
        if not numbers:
            return torch.from_numpy(pixels)
        references = [self.items.reference(number) for number in numbers]
        failures = decoders.pixels(references, pixels, self.framing).failures
        for position, failure in failures.items():
            name = printable(self.items.names[numbers[position]])
            raise DataError(f"{name}: {failure.reason}; it could be read when the data was opened")
        self._check_unchanged(np.array(numbers), pixels)
        return torch.from_numpy(pixels)

    def _check_unchanged(self, numbers: np.ndarray, pixels: np.ndarray) -> None:
        """Raise a DataError for an image whose file and pixels have changed; a file that was only touched is accepted.

        Args:
            numbers: Numbers of the images, int64 N.
            pixels: Their pixels, uint8, N x C x H x W.
        """
        for position in np.flatnonzero(self.items.stamps_now(numbers) != self.items.stamps[numbers]).tolist():
            number = int(numbers[position])
            if digest(pixels[position]) != self._digests[number].numpy().tobytes():
                name = printable(self.items.names[number])
                raise DataError(f"{name} has changed since the data was opened; restore it, or open the data again")
