"""Checks that outputs and weights of networks are finite."""

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeVar

from convwright.errors import ConvwrightError, NotFiniteError

if TYPE_CHECKING:
    import numpy as np
    import torch

Values = TypeVar("Values", "np.ndarray", "torch.Tensor")


def check_finite(outputs: Values, source: object = "the network") -> Values:
    """Return a network's outputs unchanged if all of them are finite.

    Args:
        outputs: Array or tensor whose first axis counts images.
        source: What the network is called in the error message, for example the run's path.

    Raises:
        NotFiniteError: An output is NaN or infinite, so neither a class nor an accuracy follows from it.
    """
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(outputs, torch.Tensor):
        finite = outputs.isfinite()
        if bool(finite.all()):
            return outputs  # type: ignore[no-any-return] # torch is not imported here
        bad, images = int((~finite.flatten(1).all(1)).sum()) if finite.ndim > 1 else 1, len(outputs)
    else:
        import numpy as np

        finite = np.isfinite(outputs)
        if finite.all():
            return outputs
        bad, images = int((~finite.reshape(len(finite), -1).all(1)).sum()) if finite.ndim else 1, len(outputs)
    raise NotFiniteError(
        f"{source}: the outputs for {bad} of {images} images are NaN or infinite; its weights are damaged, "
        "or its training diverged"
    )


def check_finite_weights(tensors: "Mapping[str, torch.Tensor]", source: object) -> None:
    """Check that weights are finite, and variances not negative, when they are read.

    Args:
        tensors: Tensors by name; those of whole numbers are always finite.
        source: What the weights are called in the error message, usually their file.

    Raises:
        NotFiniteError: A tensor has a value that is NaN or infinite, or would be in 32 bits.
        ConvwrightError: A running variance is negative.
    """
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            continue
        values = tensor.float()  # as networks have them
        if not bool(values.isfinite().all()):
            why = "values beyond the range of 32-bit floats" if tensor.isfinite().all() else "NaN or infinite values"
            raise NotFiniteError(f"{source}: {name} has {why}, so the network cannot be used")
        if name.endswith("running_var") and bool((values < 0).any()):
            raise ConvwrightError(f"{source}: {name} has negative values, which no variance has; the file is damaged")
