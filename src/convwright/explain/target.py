"""Where class activation maps are read: the layer that puts out the maps, and the one linear layer that may follow."""

import difflib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import nn

from convwright.arch import Network, cost
from convwright.arch.layers import Dropout, GlobalPool, Linear, Seq
from convwright.errors import UsageError

NAMES_SHOWN = 5


@dataclass(frozen=True)
class Head:
    """How a network of ours ends."""

    layer: str
    """The module that puts out the last feature maps, before they are pooled."""
    stage: str | None
    """The stage that ends with this module and so puts out the same; None where it stands in the head."""
    linear: str | None
    """The one linear layer that reads their averages; None where the head is not made so."""


def head_of(network: Network) -> Head:
    """Read off the layer graph how a network ends."""
    *_, last, head = cost(network).stages
    graph = Seq(head.blocks[0][2].graph)
    pooled = next((at for at, part in enumerate(graph.parts) if isinstance(part, GlobalPool | Linear)), 0)
    layer, stage = (f"head.{graph.names[pooled - 1]}", None) if pooled else (last.blocks[-1][0], last.name)
    pool, *between = graph.parts[pooled:-1] or (None,)
    plain = pool == GlobalPool() and all(isinstance(part, Dropout) for part in between)
    linear = f"head.{graph.names[-1]}" if plain and isinstance(graph.parts[-1], Linear) else None
    return Head(layer, stage, linear)


def find_layer(module: nn.Module, name: str) -> nn.Module:
    """Return the part of a module with this name. UsageError names those that are called alike."""
    parts = dict(module.named_modules())
    if name and name in parts:
        return parts[name]
    near = difflib.get_close_matches(name, filter(None, parts), NAMES_SHOWN, 0.5)
    near = near or [child for child, _ in module.named_children()]
    raise UsageError(f"there is no layer {name!r}; near it are {', '.join(near[:NAMES_SHOWN])}")


def last_maps(module: nn.Module, images: torch.Tensor) -> str:
    """Return the name of the last part of any module that puts out maps of more than one pixel, pooled ones not."""
    found: list[str] = []

    def note(name: str, output: object) -> None:
        if isinstance(output, torch.Tensor) and output.ndim == 4 and output[0, 0].numel() > 1:
            found.append(name)

    handles = [
        part.register_forward_hook(lambda _, __, output, name=name: note(name, output))
        for name, part in module.named_modules()
        if name and not isinstance(part, nn.AdaptiveAvgPool2d)
    ]
    try:
        with evaluating(module), torch.no_grad():
            module(images[:1])
    finally:
        for handle in handles:
            handle.remove()
    if not found:
        raise UsageError(f"no layer of {type(module).__name__} puts out feature maps (N x C x H x W)")
    return found[-1]


@dataclass
class Watched:
    """What a layer put out when the network last ran."""

    layer: str
    features: torch.Tensor = field(default_factory=lambda: torch.empty(0))
    """N x C x h x w."""

    def gradients(self, scores: torch.Tensor) -> torch.Tensor:
        """Return the derivatives of each image's score (N) by its features. UsageError where there are none."""
        try:
            (gradients,) = torch.autograd.grad(scores.sum(), self.features)
        except RuntimeError:
            raise UsageError(f"what {self.layer} puts out plays no part in the classes' scores") from None
        return gradients


@contextmanager
def watching(module: nn.Module, layer: str, *, differentiate: bool) -> Iterator[Watched]:
    """Watch a layer in evaluation mode. differentiate: make a graph of what follows it, and of nothing before.

    What follows reads a copy, so that an activation that overwrites its input leaves the watched features alone.
    """
    watched = Watched(layer)

    def watch(_: nn.Module, __: object, output: object) -> torch.Tensor:
        if not isinstance(output, torch.Tensor) or output.ndim != 4:
            raise UsageError(f"{layer} puts out no feature maps (N x C x H x W); name another layer")
        watched.features = output.detach()
        if differentiate:
            torch.set_grad_enabled(True)  # until the no_grad around it ends
            watched.features.requires_grad_()
        return watched.features.clone()

    handle = find_layer(module, layer).register_forward_hook(watch)
    try:
        with evaluating(module), torch.no_grad():
            yield watched
    finally:
        handle.remove()


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Put a module into evaluation mode, and each of its parts back into the mode it was in."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training


def class_index(target: int | str, classes: Sequence[str], outputs: int) -> int:
    """Return the output that a class stands at. UsageError names those that are called alike."""
    if isinstance(target, str):
        if target in classes:
            return list(classes).index(target)
        lower = {name.lower(): name for name in classes}
        near = [lower[name] for name in difflib.get_close_matches(target.lower(), lower, NAMES_SHOWN, 0.5)]
        listed = ", ".join(near or classes[:NAMES_SHOWN]) + (" ..." if not near and len(classes) > NAMES_SHOWN else "")
        raise UsageError(f"there is no class {target!r}; {'near it are' if near else 'classes are'} {listed}")
    if not 0 <= target < outputs:
        raise UsageError(f"classes are numbered from 0 to {outputs - 1}; there is no class {target}")
    return target
