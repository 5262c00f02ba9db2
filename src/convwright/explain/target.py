"""Where class activation maps are read: the layer that outputs the maps, and the one linear layer that may follow."""

import difflib
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from numbers import Integral

import torch
from torch import nn

from convwright.arch import Network
from convwright.arch.cost import cost
from convwright.arch.layers import Dropout, GlobalPool, Linear, Seq
from convwright.errors import UsageError
from convwright.finite import check_finite
from convwright.training.evaluation import evaluating

NAMES_SHOWN = 5


@dataclass(frozen=True)
class Head:
    """The head of a network of Convwright."""

    layer: str
    """The module that outputs the last feature maps, before they are pooled."""
    stage: str | None
    """The stage that ends with this module and has the same output; None where the module is part of the head."""
    linear: str | None
    """The one linear layer that reads the averages of the maps; None for other heads."""


def head_of(network: Network) -> Head:
    """Return the head of a network, read from its layer graph."""
    *_, last, head = cost(network).stages
    graph = Seq(head.blocks[0][2].graph)
    pooled = next((at for at, part in enumerate(graph.parts) if isinstance(part, GlobalPool | Linear)), 0)
    layer, stage = (f"head.{graph.names[pooled - 1]}", None) if pooled else (last.blocks[-1][0], last.name)
    pool, *between = graph.parts[pooled:-1] or (None,)
    plain = pool == GlobalPool() and all(isinstance(part, Dropout) for part in between)
    linear = f"head.{graph.names[-1]}" if plain and isinstance(graph.parts[-1], Linear) else None
    return Head(layer, stage, linear)


def find_layer(module: nn.Module, name: str) -> nn.Module:
    """Return the part of a module with this name. UsageError lists similar names."""
    parts: dict[str, nn.Module] = dict(module.named_modules())
    if name and name in parts:
        return parts[name]
    near = difflib.get_close_matches(name, filter(None, parts), NAMES_SHOWN, 0.5)
    near = near or [child for child, _ in module.named_children()]
    raise UsageError(f"there is no layer {name!r}; similar names are {', '.join(near[:NAMES_SHOWN])}")


def last_maps(module: nn.Module, images: torch.Tensor, among: Collection[str] | None = None) -> str:
    """Return the name of the last part of a module whose output is maps of more than one pixel, before pooling.

    Args:
        module: The module.
        images: Images as the module reads them; one is run.
        among: Names of the parts to choose from; None for all.

    Raises:
        UsageError: The last output with places that the scores depend on is not a feature map but tokens of a
            transformer, or has its channels last.
    """
    found: list[tuple[str, torch.Tensor]] = []

    def note(name: str, output: object) -> None:
        if isinstance(output, torch.Tensor) and output.requires_grad and _has_places(output):
            found.append((name, output))

    handles = [
        part.register_forward_hook(lambda _, __, output, name=name: note(name, output))
        for name, part in module.named_modules()
        if name and not isinstance(part, nn.AdaptiveAvgPool2d) and (among is None or name in among)
    ]
    one = images[:1]
    try:
        with evaluating(module), torch.enable_grad():
            scores = scores_of(module, one.detach().requires_grad_().clone())  # a copy may be overwritten
    finally:
        for handle in handles:
            handle.remove()
    used = _differentiated(scores, [output for _, output in found])
    layers = [layer for layer, gradient in zip(found, used, strict=True) if gradient is not None]
    kind = type(module).__name__
    if not layers:
        raise UsageError(
            f"no layer of {kind} that its scores depend on outputs feature maps (N x C x H x W) of several pixels"
        )
    name, output = layers[-1]
    if not _are_maps(output, one):
        raise UsageError(
            f"the last output of {kind} before pooling is {_shape(output)}, from {name}: no feature maps "
            f"(N x C x H x W) of {_shape(one)} images. CAM is for convolutional networks; name a layer with maps"
        )
    return name


def _has_places(output: torch.Tensor) -> bool:
    """Return whether an output has values for several places: maps have 4 dimensions, tokens 3."""
    return (output.ndim == 4 and output[0, 0].numel() > 1) or (output.ndim == 3 and min(output.shape[1:]) > 1)


def _are_maps(output: torch.Tensor, images: torch.Tensor) -> bool:
    """Return whether an output can be N x C x h x w maps of images: no larger than they are, of the same proportions.

    Outputs with channels last, and tokens by features, hardly ever have these proportions.
    """
    if output.ndim != 4 or len(output) != len(images):
        return False
    (high, wide), (height, width) = output.shape[2:], images.shape[2:]
    return high <= height and wide <= width and abs(high * width - wide * height) < max(height, width)


def _shape(tensor: torch.Tensor) -> str:
    return " x ".join(map(str, tensor.shape))


def _differentiated(scores: torch.Tensor, tensors: Sequence[torch.Tensor]) -> Sequence[torch.Tensor | None]:
    """Return the derivatives of the scores' sum by each tensor; None for tensors that the sum does not depend on."""
    if not tensors or not scores.requires_grad:
        return [None] * len(tensors)
    return torch.autograd.grad(scores.sum(), tensors, allow_unused=True)


@dataclass
class Recorded:
    """The output of a layer when the network last ran."""

    layer: str
    features: torch.Tensor = field(default_factory=lambda: torch.empty(0))
    """N x C x h x w."""

    def gradients(self, scores: torch.Tensor) -> torch.Tensor:
        """Return the derivatives of each image's score (N) by its features; UsageError where there are none."""
        (gradients,) = _differentiated(scores, [self.features])
        if gradients is None:
            raise UsageError(f"the scores of the classes do not depend on the output of {self.layer}")
        return gradients


@contextmanager
def recording(
    module: nn.Module, layer: str, images: torch.Tensor, *, differentiate: bool = False
) -> Iterator[Recorded]:
    """Record the output of a layer in evaluation mode.

    Later layers read a copy, so that an activation that overwrites its input does not change the recorded output.

    Args:
        module: The module.
        layer: Name of the layer.
        images: Images that the module will read.
        differentiate: Whether to record a graph of what follows the layer, for `Recorded.gradients`.

    Yields:
        The record, which is filled when the module runs; running it raises UsageError where the layer outputs no maps
        of the images.
    """
    recorded = Recorded(layer)

    def record(_: nn.Module, __: object, output: object) -> torch.Tensor:
        if not isinstance(output, torch.Tensor) or not _are_maps(output, images):
            what = f", but {_shape(output)} for images {_shape(images)}" if isinstance(output, torch.Tensor) else ""
            raise UsageError(f"{layer} outputs no feature maps (N x C x H x W){what}; name another layer")
        recorded.features = output.detach()
        if differentiate:
            torch.set_grad_enabled(True)  # until the no_grad around it ends
            recorded.features.requires_grad_()
        return recorded.features.clone()

    handle = find_layer(module, layer).register_forward_hook(record)
    try:
        with evaluating(module), torch.no_grad():
            yield recorded
    finally:
        handle.remove()


def scores_of(module: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Return N x classes scores. UsageError where the output of the module has another form."""
    scores = module(images)
    if not isinstance(scores, torch.Tensor) or scores.ndim < 2 or scores.flatten(1).shape[1] < 2:
        raise UsageError(f"{type(module).__name__} does not output a score for each class (N x classes)")
    return check_finite(scores.flatten(1), type(module).__name__)


def read_target(target: object) -> int | str | list[int | str] | None:
    """Return a class, or one for each image, as plain numbers and names. UsageError for other values."""
    if target is None:
        return None
    plain = _plain(target)
    if isinstance(plain, Sequence) and not isinstance(plain, str):
        return [_read_class(_plain(each)) for each in plain]
    return _read_class(plain)


def _plain(value: object) -> object:
    """Return NumPy's and torch's numbers and arrays as Python's own."""
    return value.tolist() if hasattr(value, "tolist") else value


def _read_class(value: object) -> int | str:
    if isinstance(value, str):
        return value
    if isinstance(value, Integral) and not isinstance(value, bool):
        return int(value)
    raise UsageError(f"a class is a number or a name, not {value!r}")


def class_index(target: int | str, classes: Sequence[str], outputs: int) -> int:
    """Return the index of a class in the output. UsageError lists similar names."""
    if isinstance(target, str):
        if not classes:
            raise UsageError(f"the classes of a torch module have no names; give a number instead of {target!r}")
        if target in classes:
            return list(classes).index(target)
        lower = {name.lower(): name for name in classes}
        near = [lower[name] for name in difflib.get_close_matches(target.lower(), lower, NAMES_SHOWN, 0.5)]
        listed = ", ".join(near or classes[:NAMES_SHOWN]) + (" ..." if not near and len(classes) > NAMES_SHOWN else "")
        raise UsageError(f"there is no class {target!r}; {'similar names are' if near else 'classes are'} {listed}")
    if not 0 <= target < outputs:
        raise UsageError(f"classes are numbered from 0 to {outputs - 1}; there is no class {target}")
    return target
