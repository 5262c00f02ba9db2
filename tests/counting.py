"""What torch itself counts on a module, to hold `cost` against."""

from typing import NamedTuple

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


class Counted(NamedTuple):
    params: int
    macs: int
    activations: int
    output: tuple[int, ...]
    """Shape of the output for one image."""
    outputs: dict[str, tuple[int, ...]]
    """Shape of every sub-module's output for one image, by name."""


def count(module: nn.Module, channels: int, resolution: int) -> Counted:
    """Run one image through a module on the meta device, in evaluation mode."""
    outputs: dict[str, tuple[int, ...]] = {}
    activations = 0

    def note(name: str, part: nn.Module, output: torch.Tensor) -> None:
        nonlocal activations
        outputs[name] = tuple(output.shape[1:])
        if isinstance(part, nn.Conv2d | nn.Linear):
            activations += output.numel()

    handles = [
        part.register_forward_hook(lambda part, _, output, name=name: note(name, part, output))
        for name, part in module.named_modules()
    ]
    image = torch.empty(1, channels, resolution, resolution, device="meta")
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        output = module.to("meta").eval()(image)
    for handle in handles:
        handle.remove()
    flops = counter.get_total_flops()
    assert flops % 2 == 0
    params = sum(parameter.numel() for parameter in module.parameters())
    return Counted(params, flops // 2, activations, tuple(output.shape[1:]), outputs)
