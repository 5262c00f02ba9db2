"""A built network at inference on a CPU, with normalisations merged into convolutions and feature maps overwritten."""

from contextlib import suppress
from typing import NamedTuple

import torch
from torch import nn

from convwright.engines.folding import clamped, folded
from convwright.engines.module_program import module_program
from convwright.engines.torch_program import TorchProgram
from convwright.errors import NetworkError
from convwright.modules.builder import ConvNet
from convwright.modules.fused.norms import has_hooks

AGREEMENT = 1e-3
"""Largest difference of a logit, relative to the largest logit, between a module and its program; rounding causes
differences of about 1e-6."""


class _Made(NamedTuple):
    parts: tuple[nn.Module, ...]
    weights: dict[str, torch.Tensor]
    program: TorchProgram | None


class FoldedNetwork:
    """Computes what a module does in evaluation mode, up to rounding, by a program that is made of its weights.

    The module itself computes where a program would not do: on a GPU, in training mode, in other types than float32,
    with hooks, for modules that are no built networks, and for images of another size than the network's. The program
    is made again when layers or weights have changed.
    """

    def __init__(self) -> None:
        self._made: _Made | None = None  # in one value, since a service predicts in threads

    def __call__(self, module: nn.Module, images: torch.Tensor) -> torch.Tensor:
        """Return logits.

        Args:
            module: The network.
            images: Normalised, N x C x H x W, on the device of the module.
        """
        program = self._current(module, images) if _is_simple(module, images) else None
        if program is None or tuple(images.shape[1:]) != program.program.shapes[0]:
            logits: torch.Tensor = module(images)
        else:
            logits = program(images).clone()  # a clone may take part in the caller's gradients
        return logits

    def _current(self, module: nn.Module, images: torch.Tensor) -> TorchProgram | None:
        """Return the program of the module as it is now; None if there is none."""
        parts, weights, made = tuple(module.modules()), module.state_dict(), self._made
        if made is None or parts != made.parts or not _are_equal(weights, made.weights):
            kept = {name: values.clone() for name, values in weights.items()}
            self._made = made = _Made(parts, kept, _program(module, images[:1]))
        return made.program


def _is_simple(module: nn.Module, images: torch.Tensor) -> bool:
    """Return whether a program may take the module's place."""
    return (
        isinstance(module, ConvNet)
        and len(images) > 0
        and images.device.type == "cpu"
        and images.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
        and all(each.dtype == torch.float32 and each.device.type == "cpu" for each in module.parameters())
        and all(isinstance(each, torch.Tensor) for each in module.state_dict().values())
        and not any(part.training or has_hooks(part) for part in module.modules())
    )


def _are_equal(some: dict[str, torch.Tensor], others: dict[str, torch.Tensor]) -> bool:
    return some.keys() == others.keys() and all(torch.equal(values, others[name]) for name, values in some.items())


def _program(module: nn.Module, image: torch.Tensor) -> TorchProgram | None:
    """Return the program of a network; None if a layer has no counterpart, or the two disagree on an image."""
    if not isinstance(module, ConvNet):
        return None
    with suppress(NetworkError, KeyError, ValueError, RuntimeError, AttributeError):  # its layers were replaced
        program = TorchProgram(clamped(folded(module_program(module))))
        if tuple(image.shape[1:]) != program.program.shapes[0]:
            return program
        with torch.no_grad():
            expected = module(image)
        apart = (program(image) - expected).abs().max()
        if apart <= AGREEMENT * expected.abs().max():  # not where one of them is not finite
            return program
    return None
