"""Initial weights by the papers' rules."""

import math

import torch
from torch import nn

from convwright.arch.network import INITS
from convwright.errors import NetworkError
from convwright.seeds import check_seed


def allocate(module: nn.Module, device: torch.device) -> None:
    """Give a module without weights (on the device "meta") memory for them, of any content.

    `nn.Module.to_empty` does the same, but asks torch's tensors without memory for their strides, whose implementation
    imports sympy.
    """
    for part in module.modules():
        for name, weight in list(part.named_parameters(recurse=False)):
            empty = torch.empty(weight.shape, dtype=weight.dtype, device=device)
            setattr(part, name, nn.Parameter(empty, weight.requires_grad))
        for name, buffer in list(part.named_buffers(recurse=False)):
            setattr(part, name, torch.empty(buffer.shape, dtype=buffer.dtype, device=device))


def initialise(module: nn.Module, scheme: str = "he", seed: int | None = None) -> None:
    """Initialise all weights of a module.

    Convolutions are normal with variance 2 / fan-out (He et al. 2015, used by ResNet, SENet and DenseNet),
    normalisations 1 and 0, biases 0. Linear layers are uniform: within 1 / sqrt(inputs) under "he", within
    1 / sqrt(outputs) under "efficientnet" (its reference implementation).

    Args:
        module: The module.
        scheme: `he` or `efficientnet`.
        seed: Seed of a generator for this call; None draws from torch's global one.

    Raises:
        NetworkError: There is no such scheme.
    """
    if scheme not in INITS:
        raise NetworkError(f"unknown initialisation {scheme!r}; known are {', '.join(INITS)}")
    generators: dict[torch.device, torch.Generator | None] = {}
    for part in module.modules():
        if isinstance(part, nn.Conv2d | nn.Linear):
            device = part.weight.device
            if device not in generators:
                generators[device] = None if seed is None else torch.Generator(device).manual_seed(check_seed(seed))
            _initialise_layer(part, scheme, generators[device])
        elif isinstance(part, nn.BatchNorm2d):
            part.reset_parameters()


@torch.no_grad()
def _initialise_layer(part: nn.Conv2d | nn.Linear, scheme: str, generator: torch.Generator | None) -> None:
    if isinstance(part, nn.Conv2d):
        fan_out = part.weight[0, 0].numel() * part.out_channels // part.groups
        part.weight.normal_(0, math.sqrt(2 / fan_out), generator=generator)
    else:
        bound = 1 / math.sqrt(part.in_features if scheme == "he" else part.out_features)
        part.weight.uniform_(-bound, bound, generator=generator)
    if part.bias is not None:
        part.bias.zero_()
