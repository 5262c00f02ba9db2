"""Carry weights between two modules that compute the same but name their parts differently.

Both are run once; their layers with weights are paired in order of execution, each with the first layer of
the same kind and shape that is not yet taken. So it needs no table of names for any network.
"""

from collections import defaultdict

import torch
from torch import nn

from convwright.errors import ConvwrightError

Signature = tuple[object, ...]


def carry(source: nn.Module, target: nn.Module, example: torch.Tensor) -> None:
    """Copy every weight and running statistic of `source` into `target`, in place.

    example: an input that both accept, N x C x H x W; its values do not matter. Raises ConvwrightError that
    names the first layers without counterpart; then `target` is unchanged.
    """
    free: dict[Signature, list[tuple[str, nn.Module]]] = defaultdict(list)
    for name, layer in executed(source, example):
        free[_signature(layer)].append((name, layer))
    pairs = []
    for name, layer in executed(target, example):
        signature = _signature(layer)
        if not free[signature]:
            raise ConvwrightError(f"no layer of the source fits {name}: {_told(signature)}")
        pairs.append((free[signature].pop(0)[1], layer))
    left = [(name, signature) for signature, layers in free.items() for name, _ in layers]
    if left:
        raise ConvwrightError(f"no layer of the target fits {left[0][0]}: {_told(left[0][1])}")
    for giver, taker in pairs:
        _copy(giver, taker)


def executed(module: nn.Module, example: torch.Tensor) -> list[tuple[str, nn.Module]]:
    """Layers that hold parameters of their own, by name, in the order in which they first run."""
    order: list[tuple[str, nn.Module]] = []
    seen: set[nn.Module] = set()

    def note(name: str, layer: nn.Module) -> None:
        if layer not in seen:
            seen.add(layer)
            order.append((name, layer))

    handles = [
        layer.register_forward_pre_hook(lambda layer, _, name=name: note(name, layer))
        for name, layer in module.named_modules()
        if any(True for _ in layer.parameters(recurse=False))
    ]
    training = [(part, part.training) for part in module.modules()]
    try:
        module.eval()
        with torch.no_grad():
            module(example)
    finally:
        for part, was in training:
            part.training = was
        for handle in handles:
            handle.remove()
    return order


def _signature(layer: nn.Module) -> Signature:
    """What two layers must share: kind, shapes and stride. A linear layer equals a 1x1 convolution."""
    shapes = {name: tuple(tensor.shape) for name, tensor in layer.named_parameters(recurse=False)}
    weight = shapes.pop("weight", ())
    if isinstance(layer, nn.Linear | nn.Conv2d):
        weight += (1,) * (4 - len(weight))
        groups = layer.groups if isinstance(layer, nn.Conv2d) else 1
        stride = layer.stride if isinstance(layer, nn.Conv2d) else (1, 1)
        return ("convolution", weight, groups, stride, tuple(sorted(shapes.items())))
    buffers = tuple(sorted((name, tuple(tensor.shape)) for name, tensor in layer.named_buffers(recurse=False)))
    return ("other", weight, tuple(sorted(shapes.items())), buffers)


def _told(signature: Signature) -> str:
    kind, weight, *_ = signature
    return f"{'convolution or linear layer' if kind == 'convolution' else 'layer'} with weight {weight}"


@torch.no_grad()
def _copy(giver: nn.Module, taker: nn.Module) -> None:
    given = dict(giver.named_parameters(recurse=False)) | dict(giver.named_buffers(recurse=False))
    taken = dict(taker.named_parameters(recurse=False)) | dict(taker.named_buffers(recurse=False))
    for name, tensor in taken.items():
        tensor.copy_(given[name].reshape(tensor.shape))
