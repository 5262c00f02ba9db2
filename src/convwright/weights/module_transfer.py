"""Transfer weights between two modules that compute the same function and name their layers differently.

Both modules run once. Their layers with weights are paired in order of execution, each with the first unpaired layer
of the same kind and shape, so that no network needs a table of names.
"""

from collections import defaultdict

import torch
from torch import nn

from convwright.errors import UsageError

Signature = tuple[object, ...]


def transfer_weights(source: nn.Module, target: nn.Module, example: torch.Tensor) -> None:
    """Copy every weight and running statistic of a module into another one, in place.

    Args:
        source: Module whose weights are copied.
        target: Module that gets the weights.
        example: An input that both accept, N x C x H x W; its values do not matter.

    Raises:
        UsageError: A layer has no counterpart; the message names it, and `target` is unchanged.
    """
    free: dict[Signature, list[tuple[str, nn.Module]]] = defaultdict(list)
    for name, layer in executed(source, example):
        free[_signature(layer)].append((name, layer))
    pairs = []
    for name, layer in executed(target, example):
        signature = _signature(layer)
        if not free[signature]:
            raise UsageError(f"no layer of the source fits {name}: {_description(signature)}")
        pairs.append((free[signature].pop(0)[1], layer))
    left = [(name, signature) for signature, layers in free.items() for name, _ in layers]
    if left:
        raise UsageError(f"no layer of the target fits {left[0][0]}: {_description(left[0][1])}")
    for own, other in pairs:
        _copy(own, other)


def executed(module: nn.Module, example: torch.Tensor) -> list[tuple[str, nn.Module]]:
    """Return the layers with parameters of their own, and their names, in the order in which they first run.

    Args:
        module: The module, which is run once in evaluation mode.
        example: An input of the module.
    """
    order: list[tuple[str, nn.Module]] = []
    seen: set[nn.Module] = set()

    def add(name: str, layer: nn.Module) -> None:
        if layer not in seen:
            seen.add(layer)
            order.append((name, layer))

    handles = [
        layer.register_forward_pre_hook(lambda layer, _, name=name: add(name, layer))
        for name, layer in module.named_modules()
        if any(True for _ in layer.parameters(recurse=False))
    ]
    modes = [(part, part.training) for part in module.modules()]
    try:
        module.eval()
        with torch.no_grad():
            module(example)
    finally:
        for part, mode in modes:
            part.training = mode
        for handle in handles:
            handle.remove()
    return order


def _signature(layer: nn.Module) -> Signature:
    """Return what two layers must share: kind, shapes and stride. A linear layer equals a 1x1 convolution."""
    shapes = {name: tuple(tensor.shape) for name, tensor in layer.named_parameters(recurse=False)}
    weight = shapes.pop("weight", ())
    if isinstance(layer, nn.Linear | nn.Conv2d):
        weight += (1,) * (4 - len(weight))
        groups = layer.groups if isinstance(layer, nn.Conv2d) else 1
        stride = layer.stride if isinstance(layer, nn.Conv2d) else (1, 1)
        return ("convolution", weight, groups, stride, tuple(sorted(shapes.items())))
    buffers = tuple(sorted((name, tuple(tensor.shape)) for name, tensor in layer.named_buffers(recurse=False)))
    return ("other", weight, tuple(sorted(shapes.items())), buffers)


def _description(signature: Signature) -> str:
    kind, weight, *_ = signature
    return f"{'convolution or linear layer' if kind == 'convolution' else 'layer'} with weight {weight}"


@torch.no_grad()
def _copy(source: nn.Module, target: nn.Module) -> None:
    given = dict(source.named_parameters(recurse=False)) | dict(source.named_buffers(recurse=False))
    own = dict(target.named_parameters(recurse=False)) | dict(target.named_buffers(recurse=False))
    for name, tensor in own.items():
        tensor.copy_(given[name].reshape(tensor.shape))
