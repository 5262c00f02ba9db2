"""Images that are decoded each time they are read, by other processes: for sets larger than memory and cache."""

import threading

import numpy as np
import torch

from convwright.data.decoders import Decoders, usable_cores
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
    """

    def __init__(self, items: Items, shape: Shape, framing: Framing) -> None:
        self.items, self.framing = items, framing
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
            DataError: An image can no longer be read.
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
        return torch.from_numpy(pixels)
