"""Combinators that compute several of their parts at once in training; parts and names are as in `combinators`."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from convwright.arch import layers as graph
from convwright.modules import combinators as combinators
from convwright.modules.fused.kernels import ACTS, PLAIN, Kernels, compiled
from convwright.modules.fused.norms import has_hooks, is_plain_norm, normalise, recalibrate
from convwright.modules.fused.pointwise import PointwiseConv2d

Step = tuple[str, ...]
"""Names of parts that are computed together, in that order: a normalisation, its activation and the gate after it; a
sum and its activation; or an average pool and the convolution before it."""


_CLASSES = {"relu": nn.ReLU, "relu6": nn.ReLU6, "silu": nn.SiLU, "hardswish": nn.Hardswish}
"""Classes of the activations that are computed together with the part before them."""


@dataclass(frozen=True)
class Operators:
    """The operators that a network is trained with."""

    fused: bool = True
    """Use compiled kernels, and convolutions of `CompiledConv2d`, where they exist for the maps."""
    memory_efficient: bool = False
    """Recompute in the backward pass what is cheap to compute, in torch if there are no compiled kernels."""

    def kernels(self, x: Tensor) -> Kernels | None:
        """Return the kernels for maps of this type; None for plain modules."""
        return (compiled(x) if self.fused else None) or (PLAIN if self.memory_efficient else None)


class FusedChain(combinators.Chain):
    """A sequence in which a normalisation is computed together with the parts after it."""

    def __init__(self, parts: combinators.Named, layers: Sequence[graph.Layer], operators: Operators) -> None:
        super().__init__(parts)
        self.layers = dict(zip(self._modules, layers, strict=True))
        self.steps = list(_steps(self.layers))
        self.operators = operators

    @property
    def ends_in_norm(self) -> bool:
        """Whether the last step can also add a residual."""
        return bool(self.steps) and isinstance(self.layers[self.steps[-1][0]], graph.Norm)

    def forward(
        self, x: Tensor, residual: Tensor | None = None, kept: Tensor | None = None, rectified: bool = False
    ) -> Tensor:
        """Run the parts in order.

        Args:
            x: Maps, N x C x H x W.
            residual: Maps that are added to the output of the last normalisation; see `normalise`.
            kept: Factor of each image's output before the sum (stochastic depth).
            rectified: Whether ReLU is applied to the sum.
        """
        if self.kernels(x) is None:
            output: Tensor = super().forward(x)  # type: ignore[no-untyped-call]
            return output
        return self.run(x, self.steps, None, residual, kept, rectified)

    def kernels(self, x: Tensor) -> Kernels | None:
        """Return the kernels for maps of this type; None for plain modules, and if a part is not in training mode."""
        learning = self.training and all(part.training for part in self.children())
        return self.operators.kernels(x) if learning else None

    def run(
        self,
        x: Tensor,
        steps: Sequence[Step],
        recompute: Callable[[], Tensor] | None = None,
        residual: Tensor | None = None,
        kept: Tensor | None = None,
        rectified: bool = False,
    ) -> Tensor:
        """Run some steps. `recompute` computes `x` once more, so that it need not be kept for the backward pass."""
        for step in steps:
            ends = residual is not None and step is steps[-1]
            recompute = recompute if self.operators.memory_efficient else None
            names = step
            if _is_pooled_convolution(step, self.layers):
                pool, conv = map(self.get_submodule, step)
                names, recompute = (step, _uninitialised_like(x)) if _commute(conv, pool) else (step[::-1], recompute)
            with recomputed(x, recompute):
                last = (residual, kept, rectified) if ends else (None, None, False)
                x, recompute = self._step(names, x, *last)
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
        # Chosen for each step, since mixed precision changes the type of maps within a chain.
        kernels = self.operators.kernels(x) if is_plain_norm(first) and as_built else None
        if kernels is None or not isinstance(first, nn.BatchNorm2d):
            for name in step:
                x = self.get_submodule(name)(x)
            return _add_residual(x, residual, kept, rectified), None
        act = self.activation(step)
        if not isinstance(gate, combinators.Gated):
            return normalise(kernels, first, x, act, residual=residual, kept=kept, rectified=rectified)
        if kept is None or residual is None:
            return recalibrate(kernels, first, gate, x, act, residual=residual, rectified=rectified), None
        return _add_residual(recalibrate(kernels, first, gate, x, act), residual, kept, rectified), None

    def is_as_built(self, step: Step) -> bool:
        """Return whether parts that are not called but computed in kernels are unchanged since they were built."""
        for name in step[1:]:
            part, layer = self.get_submodule(name), self.layers[name]
            if isinstance(layer, graph.Act) and (type(part) is not _CLASSES[layer.function] or has_hooks(part)):
                return False
            if isinstance(layer, graph.Gate) and (type(part) is not combinators.Gated or has_hooks(part)):
                return False
            if isinstance(part, combinators.Gated) and (
                type(part[0]) is not nn.AdaptiveAvgPool2d or has_hooks(part[0])
            ):
                return False
        return True

    def activation(self, step: Step) -> str:
        """Return the name of the activation of a step; `identity` if it has none."""
        acts = (layer.function for name in step if isinstance(layer := self.layers[name], graph.Act))
        return next(acts, "identity")


class FusedSum(combinators.Sum):
    """A residual connection whose sum is computed in the last pass of the body."""

    def forward(self, x: Tensor, rectified: bool = False) -> Tensor:
        """Run the branches and add them; if `rectified`, apply ReLU to the sum."""
        body, *others = self.children()
        if not self.training or len(others) != 1 or not _takes_residual(body, x):
            total = super().forward(x)
            return torch.relu_(total) if rectified else total
        kept = self._keep_factors(x) if self.drop_rate else None
        output: Tensor = body(x, residual=others[0](x), kept=kept, rectified=rectified)
        return output


@contextmanager
def recomputed(x: Tensor, recompute: Callable[[], Tensor] | None) -> Iterator[None]:
    """Let operations on `x` recompute it in their backward pass instead of keeping it."""
    if recompute is None:
        yield
        return
    address, shape = x.data_ptr(), x.shape

    def pack(saved: Tensor) -> Tensor | Callable[[], Tensor]:
        return recompute if saved.data_ptr() == address and saved.shape == shape else saved

    def unpack(packed: Tensor | Callable[[], Tensor]) -> Tensor:
        return packed if isinstance(packed, Tensor) else packed()

    with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
        yield


def _uninitialised_like(x: Tensor) -> Callable[[], Tensor]:
    """Return a function that makes maps of the same size with arbitrary values, which suffice for average pooling."""
    last = x.is_contiguous(memory_format=torch.channels_last)
    layout = torch.channels_last if last else torch.contiguous_format
    return partial(torch.empty, x.shape, dtype=x.dtype, device=x.device, memory_format=layout)


def _add_residual(x: Tensor, residual: Tensor | None, kept: Tensor | None, rectified: bool) -> Tensor:
    """Scale, add and rectify in torch, as `normalise` does after its normalisation."""
    x = x if kept is None else x * kept
    x = x if residual is None else x + residual
    return torch.relu(x) if rectified else x


def _takes_residual(body: nn.Module, x: Tensor) -> bool:
    if not isinstance(body, FusedChain) or has_hooks(body):
        return False
    return body.ends_in_norm and body.kernels(x) is not None


def _steps(layers: dict[str, graph.Layer]) -> Iterator[Step]:
    """Yield the groups of parts of a sequence that are computed together."""
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
        elif rest and isinstance(layers[first], graph.Conv) and _is_downsampling(layers[rest[0]]):
            step.insert(0, rest.pop(0))  # the pool runs first if they commute
        yield tuple(step)
        names = rest


def _is_downsampling(pool: graph.Layer) -> bool:
    return isinstance(pool, graph.Pool) and pool.function == "avg" and pool.stride > 1


def _is_pooled_convolution(step: Step, layers: dict[str, graph.Layer]) -> bool:
    """Whether a step is an average pool and the convolution before it."""
    return len(step) > 1 and isinstance(layers[step[0]], graph.Pool)


def _commute(conv: nn.Module, pool: nn.Module) -> bool:
    """Whether the two are a 1x1 convolution and an average pool, which commute.

    The convolution mixes no positions, and the pool mixes no channels. With the pool first, the convolution of a
    DenseNet transition has a quarter of the positions. The modules are examined, not their layers, since they may have
    been replaced or changed since they were built.
    """
    if type(conv) not in (nn.Conv2d, PointwiseConv2d) or type(pool) is not nn.AvgPool2d:
        return False
    assert isinstance(conv, nn.Conv2d)
    if has_hooks(conv) or has_hooks(pool):
        return False
    is_pointwise = (conv.kernel_size, conv.stride, conv.padding) == ((1, 1), (1, 1), (0, 0))
    return is_pointwise and (
        pool.padding == 0 or not pool.count_include_pad
    )  # zeros of the padding would reduce the bias


def _squeezes(gate: graph.Gate) -> bool:
    return len(gate.parts) > 1 and gate.parts[0] == graph.GlobalPool()
