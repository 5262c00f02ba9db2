"""The one check that a network's outputs are numbers, for everything that reads logits."""

import sys
from typing import TYPE_CHECKING, TypeVar

from convwright.errors import NotFiniteError

if TYPE_CHECKING:
    import numpy as np
    import torch

Values = TypeVar("Values", "np.ndarray", "torch.Tensor")


def check_finite(outputs: Values, source: object = "the network") -> Values:
    """Return a network's outputs as they are, if all of them are finite.

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
            return outputs
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
