"""What all predictors share: reading images in any form, and ranking classes. Without torch, as exported files run."""

import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union, overload

import numpy as np
from PIL import Image

from convwright.arch.resolution import Resolution, sides
from convwright.brief import Brief
from convwright.data.images import Framing, ImageFile, decode, fitted, quiet, reason
from convwright.data.threads import in_threads
from convwright.errors import ArgumentError, ConvwrightError, UsageError
from convwright.prediction.outcomes import LabelSet, Prediction, PredictionSet, has_file, name_of
from convwright.prediction.result import PICTURES, Predictions
from convwright.printable import printable
from convwright.stats.limits import COVERAGES, Limits, energy, softmax

if TYPE_CHECKING:
    import torch

AnyImage = Union[ImageFile, Image.Image, "torch.Tensor", np.ndarray]
OneImage = str | Path | Image.Image
"""A file, a Pillow image, or uint8 values: a tensor C x H x W or an array H x W x C (grey: H x W too)."""
BATCH = 64
TOP = 5
"""Classes that are named for each image by default."""


class BasePredictor(Brief, ABC):
    """Reads images as in training, and ranks classes. Subclasses compute the probabilities."""

    classes: tuple[str, ...]
    channels: int
    resolution: Resolution
    framing: Framing
    thresholds: tuple[float, ...] | None = None
    """Probability from which on each class is predicted, for a multi-label network; None for one label an image."""

    @property
    def multi_label(self) -> bool:
        """Whether the network predicts any number of classes for an image."""
        return self.thresholds is not None

    @property
    def measure(self) -> str:
        """What the network is judged by: accuracy, or mean average precision of a multi-label network."""
        return "mean average precision" if self.multi_label else "accuracy"

    def repr_fields(self) -> dict[str, object]:
        """Return what `repr` shows."""
        return {"classes": self.classes, "channels": self.channels, "resolution": self.resolution}

    def read(self, image: AnyImage) -> Any:
        """Return one image with the preprocessing of training: uint8, C x H x W.

        Args:
            image: A file, a Pillow image, a tensor or an array.

        Raises:
            ConvwrightError: The image cannot be read.
        """
        (pixels,) = self.read_all([image])
        if isinstance(pixels, ConvwrightError):
            raise pixels
        return pixels

    def decode(self, image: AnyImage) -> Any:
        """Return one image as `read` does. Threads call this inside one `convwright.data.images.quiet()`.

        Args:
            image: A file, a Pillow image, a tensor or an array.

        Raises:
            ConvwrightError: The image cannot be read.
        """
        return self.convert(self._pixels(image))

    def read_all(self, images: Sequence[AnyImage]) -> list[Any]:
        """Read images in parallel, each as `read` does.

        Args:
            images: The images.

        Returns:
            The pixels of each image; instead of an image that cannot be read, the error.
        """

        def work(image: AnyImage) -> Any:
            try:
                return self.decode(image)
            except ConvwrightError as error:
                return error

        with quiet():
            return [work(images[0])] if len(images) == 1 else list(in_threads(work, images, None, ""))

    def rank(self, pixels: Sequence[Any], top: int | None = None, coverage: float | None = None) -> list[Prediction]:
        """Rank the classes of images, all in one batch.

        Args:
            pixels: Images as `read` returns them.
            top: Classes to name for each image; None: 5.
            coverage: Share of images whose prediction set contains the true class; None: there are no sets.

        Returns:
            The `top` most likely classes of each image; of a multi-label network a `LabelSet` with every class whose
            probability is at least its threshold. With `coverage`, a `PredictionSet`.

        Raises:
            ArgumentError: `top` is given for a multi-label network, or prediction sets are not possible.
        """
        self.check_top(top, coverage)
        if not len(pixels):
            return []
        if coverage is not None:
            return self._sets(pixels, coverage)
        predictions: list[Prediction] = []
        for probabilities in self.calibrated(self._logits(pixels)):
            best = np.argsort(-probabilities, kind="stable")[: None if self.multi_label else top or TOP]
            if self.thresholds is not None:
                best = best[probabilities[best] >= np.array(self.thresholds)[best]]
            classes = tuple(self.classes[index] for index in best)
            kind = LabelSet if self.multi_label else Prediction
            predictions.append(kind(classes, tuple(probabilities[best].tolist())))
        return predictions

    def _sets(self, pixels: Sequence[Any], coverage: float) -> list[Prediction]:
        """Return the prediction set of each image."""
        limits = self.find_limits()
        logits, scores = self._scored(pixels)
        threshold, known = limits.threshold(coverage), limits.known(energy(logits), scores)
        found: list[Prediction] = []
        for probabilities, is_known in zip(self.calibrated(logits), known, strict=True):
            best = np.argsort(-probabilities, kind="stable")
            best = best[probabilities[best] >= threshold]
            classes = tuple(self.classes[index] for index in best)
            shares = tuple(probabilities[best].tolist())
            found.append(PredictionSet(classes, shares, coverage=coverage, known=bool(is_known)))
        return found

    def fitted_limits(self) -> Limits | None:
        """Return temperature and thresholds; None if they have not been fitted."""
        return None

    @property
    def temperature(self) -> float:
        """What logits are divided by before their softmax: 1 where no temperature has been fitted."""
        limits = None if self.multi_label else self.fitted_limits()
        return 1.0 if limits is None else limits.temperature

    def calibrated(self, logits: np.ndarray) -> np.ndarray:
        """Return the probabilities of logits, N x classes, float64: calibrated where a temperature has been fitted.

        Every probability of this network is computed this way, also in exported files.

        Args:
            logits: N x classes.
        """
        logits = np.asarray(logits, np.float64)
        if self.multi_label:
            return np.asarray(np.exp(-np.logaddexp(0.0, -logits)))
        return softmax(logits / self.temperature)

    def find_limits(self) -> Limits:
        """Return temperature and thresholds; if this call fits them, all later probabilities are calibrated.

        Raises:
            ArgumentError: They are not known.
        """
        raise ArgumentError("coverage", f"prediction sets need validation images, and {self!r} was made without")

    def check_top(self, top: int | None, coverage: float | None = None) -> None:
        """Check that a number of classes to name is given for one label an image only, and check a coverage.

        Raises:
            ArgumentError: The network is a multi-label network, or the values exclude each other.
        """
        if coverage is not None:
            least, most = COVERAGES[0] / 100, COVERAGES[-1] / 100
            if isinstance(coverage, bool) or not isinstance(coverage, int | float) or not least <= coverage <= most:
                raise ArgumentError("coverage", f"must be a number from {least} to {most}, not {coverage!r:.80}")
            if self.multi_label:
                raise ArgumentError(
                    "coverage", "prediction sets are for networks that predict one class for each image"
                )
            if top is not None:
                raise ArgumentError("top", "a prediction set names all its classes; leave it out with `coverage`")
        if self.multi_label and top is not None:
            raise ArgumentError(
                "top", "does not apply to a multi-label network, which names every class above its threshold"
            )

    @overload
    def predict(  # type: ignore[overload-overlap]
        self, images: OneImage, top: int | None = None, batch_size: int = BATCH, coverage: float | None = None
    ) -> Prediction: ...
    @overload
    def predict(
        self, images: Iterable[AnyImage], top: int | None = None, batch_size: int = BATCH, coverage: float | None = None
    ) -> Predictions: ...
    def predict(
        self,
        images: OneImage | Iterable[AnyImage],
        top: int | None = None,
        batch_size: int = BATCH,
        coverage: float | None = None,
    ) -> Prediction | Predictions:
        """Rank the classes of one image or of several.

        Args:
            images: A file, Pillow image, tensor or array, or several of them. Images of another size than the
                network's are resized and cropped as in training.
            top: Classes to name for each image; None: 5. A multi-label network names every class above its threshold.
            batch_size: Images of a batch.
            coverage: Give each image the set of classes that contains the true one in this share of cases, 0.5 to
                0.99.

        Returns:
            The `top` most likely classes of the image; for several images, a list of these with the names of their
            files, which shows itself as a table.

        Raises:
            ConvwrightError: An image cannot be read.
        """
        if is_single(images):
            (one,) = self.predict([images], top, batch_size, coverage)  # type: ignore[list-item]
            return one if has_file(images) else replace(one, file="")
        for name, value in (("top", TOP if top is None else top), ("batch_size", batch_size)):
            if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
                raise ArgumentError(name, f"must be a whole number, 1 or more, not {value!r:.80}")
        if not isinstance(images, Iterable):
            raise UsageError(f"an image is a file, a Pillow image, a tensor or an array, not {type(images).__name__}")
        predictions: list[Prediction] = []
        pictures: list[Any] = []
        for batch in _batched(images, batch_size):
            pixels = self.read_all(batch)
            for read in pixels:
                if isinstance(read, ConvwrightError):
                    raise read
            for image, ranked in zip(batch, self.rank(pixels, top, coverage), strict=True):
                predictions.append(replace(ranked, file=name_of(image, len(predictions) + 1)))
            pictures += pixels[: PICTURES - len(pictures)]
        return Predictions(tuple(predictions), _pictures=tuple(map(np.asarray, pictures)))

    def convert(self, pixels: np.ndarray) -> Any:
        """Return an image's pixels in the form in which this predictor computes."""
        return pixels

    @abstractmethod
    def _logits(self, pixels: Sequence[Any]) -> np.ndarray:
        """Return logits, N x classes, of images as `read` returns them."""

    @abstractmethod
    def _scored(self, pixels: Sequence[Any]) -> tuple[np.ndarray, np.ndarray | None]:
        """Return logits, N x classes, and out-of-distribution scores, N, of images as `read` returns them.

        The scores are None where the network has none.
        """

    def _pixels(self, image: AnyImage) -> np.ndarray:
        if is_tensor(image):
            return self._from_values(_from_tensor(image))
        if isinstance(image, np.ndarray):
            return self._from_values(_checked(image, "an array", "H x W x C"))
        if not isinstance(image, str | Path | Image.Image) and not hasattr(image, "read"):
            raise UsageError(f"an image is a file, a Pillow image, a tensor or an array, not {type(image).__name__}")
        try:
            return self._from_image(image)  # type: ignore[arg-type]
        except Exception as error:  # Pillow's decoders raise nearly anything on damaged files
            name = image if isinstance(image, str | Path) else getattr(image, "name", "the image")
            raise ConvwrightError(f"cannot read {printable(name)}: {reason(error)}") from error

    def _from_values(self, array: np.ndarray) -> np.ndarray:
        if (
            array.shape == (*sides(self.resolution), self.channels) and self.framing.crop == 1
        ):  # needs neither resizing nor conversion
            return np.ascontiguousarray(array.transpose(2, 0, 1))
        return self._from_image(Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array))

    def _from_image(self, image: ImageFile | Image.Image) -> np.ndarray:
        how = self.resolution, self.channels, self.framing
        return np.ascontiguousarray(fitted(image, *how) if isinstance(image, Image.Image) else decode(image, *how))


def is_tensor(image: object) -> bool:
    """Return whether a value is a tensor of torch, without importing torch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(image, torch.Tensor)


def _from_tensor(image: Any) -> np.ndarray:
    array = image.detach().cpu().numpy()
    return _checked(array.transpose(1, 2, 0) if array.ndim == 3 else array, "a tensor", "C x H x W", image.shape)


def _checked(array: np.ndarray, kind: str, layout: str, shape: Sequence[int] | None = None) -> np.ndarray:
    """Return H x W x C uint8 pixels of an image of 1, 3 or 4 channels; UsageError for other values."""
    size = " x ".join(map(str, array.shape if shape is None else shape)) or "a single value"
    if array.dtype != np.uint8:
        raise UsageError(f"the values of {kind} must be uint8, from 0 to 255, not {array.dtype}")
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[-1] not in (1, 3, 4):
        raise UsageError(f"an image as {kind} is {layout} with 1, 3 or 4 channels, not {size}")
    if not array.size:
        raise UsageError(f"an image must have pixels; this is {kind} of {size}")
    return array


def is_single(images: Any) -> bool:
    """Return whether a value is one image, not several."""
    if is_tensor(images) or isinstance(images, np.ndarray):
        return bool(images.ndim < 4)
    return isinstance(images, str | bytes | Path | Image.Image) or hasattr(images, "read")


def check_many(images: Any) -> None:
    """Check that a value holds several images: iterating over a single one would treat its rows as images.

    Raises:
        UsageError: It is a single image.
    """
    if is_single(images) or not isinstance(images, Iterable):
        raise UsageError("several images are expected; give a list, also of one image")


def _batched(images: Iterable[AnyImage], size: int) -> Iterator[list[AnyImage]]:
    remaining = iter(images)
    while batch := list(islice(remaining, size)):
        yield batch
