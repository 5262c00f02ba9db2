"""An oracle of peak memory: which tensors torch makes on the way through a module, and how long each is needed."""

from typing import Any, NamedTuple

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

ELEMENTWISE = {
    "native_batch_norm", "_native_batch_norm_legit_no_training", "relu", "hardtanh", "silu", "sigmoid", "hardswish",
    "hardsigmoid", "gelu", "tanh", "add", "mul",
}  # fmt: skip
"""Operations that may write their output over an operand of the same size that nothing reads later (a gate's
multiplication: over the map, never over the factors)."""
ALLOCATING = {
    "convolution", "addmm", "mm", "cat", "mean", "constant_pad_nd", "max_pool2d_with_indices", "avg_pool2d",
    "_adaptive_avg_pool2d",
}  # fmt: skip
FREE = {"view", "_unsafe_view", "t", "unsqueeze", "slice", "detach", "alias", "empty"}
"""Views, and the empty statistics that batch normalisation makes at inference."""


class Step(NamedTuple):
    """One operation: the values that it reads and the one that it makes, each known by its storage."""

    name: str
    reads: tuple[int, ...]
    makes: int
    size: int


class _Tracer(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.steps: list[Step] = []
        self.alive: list[torch.Tensor] = []  # so that no storage's address is used again

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        name = function.overloadpacket.__name__
        if name in FREE:
            return result
        assert name in ELEMENTWISE | ALLOCATING, f"does {name} allocate?"
        reads = [leaf for leaf in tree_flatten((args, kwargs))[0] if isinstance(leaf, torch.Tensor)]
        made = result[0] if isinstance(result, tuple) else result  # the others are statistics and indices
        self.alive += [*reads, made]
        self.steps.append(Step(name, tuple(map(_storage, reads)), _storage(made), made.numel()))
        return result


def peak(module: nn.Module, image: torch.Tensor) -> int:
    """Most elements alive at once while one image passes: the input counts, weights do not."""
    module = module.to("meta").eval()
    for part in module.modules():
        if hasattr(part, "inplace"):
            part.inplace = False
    image = image.to("meta")
    with torch.no_grad(), _Tracer() as tracer:
        output = module(image)
    last_read = {value: index for index, step in enumerate(tracer.steps) for value in step.reads}
    last_read[_storage(output)] = len(tracer.steps)
    alive = {_storage(image): image.numel()}
    highest = image.numel()
    for index, step in enumerate(tracer.steps):
        dying = {value: alive[value] for value in step.reads if value in alive and last_read[value] == index}
        operands = step.reads[:1] if step.name == "mul" else step.reads
        reused = step.name in ELEMENTWISE and step.size in [dying[value] for value in operands if value in dying]
        highest = max(highest, sum(alive.values()) + (0 if reused else step.size))
        for value in dying:
            del alive[value]
        alive[step.makes] = step.size
    return highest


def _storage(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage()._cdata
