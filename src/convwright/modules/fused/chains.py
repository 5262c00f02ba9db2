"""Combinators that compute several of their parts at once in training; parts and names are those of `combinators`."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from convwright.arch import layers as graph
from convwright.modules import combinators as combinators
from convwright.modules.fused.kernels import ACTS, PLAIN, Kernels, compiled
from convwright.modules.fused.norms import is_ordinary, is_watched, normalise, recalibrate
from convwright.modules.fused.pointwise import PointwiseConv2d

Step = tuple[str, ...]
"""Names of parts that are computed together, in the order in which they are: a normalisation, its activation, the gate
that follows; a sum and its activation; a mean over windows and the convolution that stands before it."""


_CLASSES = {"relu": nn.ReLU, "relu6": nn.ReLU6, "silu": nn.SiLU, "hardswish": nn.Hardswish}
"""Of activations that are computed with what stands before them."""


@dataclass(frozen=True)
class Operators:
    """What a network is to be trained with."""

    fused: bool = True
    """Compiled kernels, and convolutions of `OwnConv2d`, where there are any for its maps."""
    memory_efficient: bool = False
    """Compute again in the backward pass what is cheap to compute; without compiled kernels, in torch."""

    def kernels(self, x: Tensor) -> Kernels | None:
        """Return what maps like these are computed with; None for plain modules."""
        return (compiled(x) if self.fused else None) or (PLAIN if self.memory_efficient else None)


class FusedChain(combinators.Chain):
    """A sequence in which a normalisation is computed together with what follows it."""

    def __init__(self, parts: combinators.Named, layers: Sequence[graph.Layer], operators: Operators) -> None:
        super().__init__(parts)
        self.layers = dict(zip(self._modules, layers, strict=True))
        self.steps = list(_steps(self.layers))
        self.operators = operators

    @property
    def ends_in_norm(self) -> bool:
        """Can a residual be added in the pass of the last step?"""
        return bool(self.steps) and isinstance(self.layers[self.steps[-1][0]], graph.Norm)

    def forward(
        self, x: Tensor, residual: Tensor | None = None, kept: Tensor | None = None, rectified: bool = False
    ) -> Tensor:
        """Run the parts in order; with a residual, where the chain ends in a norm, `normalise` says the rest."""
        if self.kernels(x) is None:
            return super().forward(x)
        return self.run(x, self.steps, None, residual, kept, rectified)

    def kernels(self, x: Tensor) -> Kernels | None:
        """Return what to compute with; None for plain modules, as where some part is not in training mode."""
        learning = self.training and all(part.training for part in self.children())
        return self.operators.kernels(x) if learning else None

    def run(
        self,
        x: Tensor,
        steps: Sequence[Step],
        again: Callable[[], Tensor] | None = None,
        residual: Tensor | None = None,
        kept: Tensor | None = None,
        rectified: bool = False,
    ) -> Tensor:
        """Run some steps; again: computes x again, so that nobody need keep it."""
        for step in steps:
            ends = residual is not None and step is steps[-1]
            again = again if self.operators.memory_efficient else None
            names = step
            if _turns(step, self.layers):
                pool, conv = map(self.get_submodule, step)
                names, again = (step, _like(x)) if _commute(conv, pool) else (step[::-1], again)
            with recomputed(x, again):
                last = (residual, kept, rectified) if ends else (None, None, False)
                x, again = self._step(names, x, *last)
        return x

    def _step(
        self,
        step: Step,
        x: Tensor,
        residual: Tensor | None,
        kept: Tensor | None,
        rectified: bool,
    ) -> tuple[Tensor, Callable[[], Tensor] | None]:
        first, gate = self._modules[step[0]], self._modules[step[-1]]
        assert first is not None
        as_built = self.is_as_built(step)
        if isinstance(first, FusedSum) and as_built:
            return first(x, rectified=len(step) > 1), None
        # For these maps: mixed precision changes their type within a chain.
        kernels = self.operators.kernels(x) if is_ordinary(first) and as_built else None
        if kernels is None or not isinstance(first, nn.BatchNorm2d):
            for name in step:
                x = self.get_submodule(name)(x)
            return _added(x, residual, kept, rectified), None
        act = self.activation(step)
        if not isinstance(gate, combinators.Gated):
            return normalise(kernels, first, x, act, residual=residual, kept=kept, rectified=rectified)
        if kept is None or residual is None:
            return recalibrate(kernels, first, gate, x, act, residual=residual, rectified=rectified), None
        return _added(recalibrate(kernels, first, gate, x, act), residual, kept, rectified), None

    def is_as_built(self, step: Step) -> bool:
        """Are the parts of a step that are not called those that it was built with, and does nobody watch them?"""
        for name in step[1:]:
            part, layer = self.get_submodule(name), self.layers[name]
            if isinstance(layer, graph.Act) and (type(part) is not _CLASSES[layer.function] or is_watched(part)):
                return False
            if isinstance(layer, graph.Gate) and (type(part) is not combinators.Gated or is_watched(part)):
                return False
            if isinstance(part, combinators.Gated) and (
                type(part[0]) is not nn.AdaptiveAvgPool2d or is_watched(part[0])
            ):
                return False
        return True

    def activation(self, step: Step) -> str:
        """Name the activation within a step."""
        acts = (layer.function for name in step if isinstance(layer := self.layers[name], graph.Act))
        return next(acts, "identity")


class FusedSum(combinators.Sum):
    """A residual connection whose sum is taken in the last pass of the body."""

    def forward(self, x: Tensor, rectified: bool = False) -> Tensor:
        """Run the branches and add them; then ReLU, if it is to be rectified."""
        body, *others = self.children()
        if not self.training or len(others) != 1 or not _takes_residual(body, x):
            total = super().forward(x)
            return torch.relu_(total) if rectified else total
        kept = self._kept(x) if self.drop_rate else None
        return body(x, residual=others[0](x), kept=kept, rectified=rectified)


@contextmanager
def recomputed(x: Tensor, again: Callable[[], Tensor] | None) -> Iterator[None]:
    """Have what is computed from x compute it again for its backward pass, instead of keeping it."""
    if again is None:
        yield
        return
    address, shape = x.data_ptr(), x.shape

    def pack(saved: Tensor) -> Tensor | Callable[[], Tensor]:
        return again if saved.data_ptr() == address and saved.shape == shape else saved

    def unpack(packed: Tensor | Callable[[], Tensor]) -> Tensor:
        return packed if isinstance(packed, Tensor) else packed()

    with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
        yield


def _like(x: Tensor) -> Callable[[], Tensor]:
    """Return a function that makes maps like these with anything in them: of what it averages, a mean wants no more."""
    last = x.is_contiguous(memory_format=torch.channels_last)
    layout = torch.channels_last if last else torch.contiguous_format
    return partial(torch.empty, x.shape, dtype=x.dtype, device=x.device, memory_format=layout)


def _added(x: Tensor, residual: Tensor | None, kept: Tensor | None, rectified: bool) -> Tensor:
    """What `normalise` does after it has normalised, in torch."""
    x = x if kept is None else x * kept
    x = x if residual is None else x + residual
    return torch.relu(x) if rectified else x


def _takes_residual(body: nn.Module, x: Tensor) -> bool:
    if not isinstance(body, FusedChain) or is_watched(body):
        return False
    return body.ends_in_norm and body.kernels(x) is not None


def _steps(layers: dict[str, graph.Layer]) -> Iterator[Step]:
    """Group the parts of a sequence into those that are computed together."""
    names = list(layers)
    while names:
        first, *rest = names
        step = [first]
        if isinstance(layers[first], graph.Norm):
            if rest and isinstance(act := layers[rest[0]], graph.Act) and act.function in ACTS:
                step.append(rest.pop(0))
            if rest and isinstance(gate := layers[rest[0]], graph.Gate) and _squeezes(gate):
                step.append(rest.pop(0))
        elif isinstance(layers[first], graph.Add) and rest and layers[rest[0]] == graph.Act("relu"):
            step.append(rest.pop(0))
        elif rest and isinstance(layers[first], graph.Conv) and _shrinks(layers[rest[0]]):
            step.insert(0, rest.pop(0))  # if they turn out to commute
        yield tuple(step)
        names = rest


def _shrinks(pool: graph.Layer) -> bool:
    return isinstance(pool, graph.Pool) and pool.function == "avg" and pool.stride > 1


def _turns(step: Step, layers: dict[str, graph.Layer]) -> bool:
    """Is this a step of a mean over windows and the convolution that stands before it?"""
    return len(step) > 1 and isinstance(layers[step[0]], graph.Pool)


def _commute(conv: nn.Module, pool: nn.Module) -> bool:
    """Is this a 1x1 convolution and a mean over windows? The one mixes no positions and the other no channels.

    The mean comes first then: in DenseNet's transitions the convolution is left with a quarter of the positions. The
    modules are asked, not their layers, as they may have been replaced or changed since they were built.
    """
    if type(conv) not in (nn.Conv2d, PointwiseConv2d) or type(pool) is not nn.AvgPool2d:
        return False
    assert isinstance(conv, nn.Conv2d)
    if is_watched(conv) or is_watched(pool):
        return False
    moves_nothing = (conv.kernel_size, conv.stride, conv.padding) == ((1, 1), (1, 1), (0, 0))
    return moves_nothing and (pool.padding == 0 or not pool.count_include_pad)  # zeros would take from the bias


def _squeezes(gate: graph.Gate) -> bool:
    return len(gate.parts) > 1 and gate.parts[0] == graph.GlobalPool()
