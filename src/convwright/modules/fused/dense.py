"""Dense blocks whose training memory grows with their depth, not with its square.

Each layer of a dense block reads the maps of all layers before it. If they are concatenated and normalised for every
layer, and kept for the backward pass, they take memory in proportion to the square of the depth. Here all maps of a
block are stored in one tensor. Their statistics are computed once, when they are written, since they are the same for
every layer that reads them; the normalised maps are recomputed in the backward pass. The gradients of all readers are
accumulated in place, and the gradient through the statistics is added in one pass after the last of them.
"""

import ctypes
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from convwright.arch import layers as graph
from convwright.modules import combinators as combinators
from convwright.modules.fused.chains import FusedChain, Operators
from convwright.modules.fused.kernels import Kernels, channels_last, real
from convwright.modules.fused.norms import Statistics, check_count, has_hooks, is_plain_norm, update_running_statistics
from convwright.modules.fused.pointwise import convolve, convolve_back, functions_for


class DenseStage(combinators.Chain):
    """A dense block of layers that `is_dense` accepts."""

    def __init__(self, parts: combinators.Named, operators: Operators) -> None:
        super().__init__(parts)
        self.operators = operators

    def forward(self, x: Tensor) -> Tensor:
        """Return the input maps and all new maps, concatenated: N x C x H x W to N x (C + growth) x H x W."""
        chains = self._training_chains()
        kernels = self.operators.kernels(x) if chains else None
        if kernels is None:
            output: Tensor = super().forward(x)  # type: ignore[no-untyped-call]
            return output
        shared = _SharedMaps(kernels, x, x.shape[1] + sum(map(_growth, chains)))
        order = _Write.apply(shared, x.new_zeros(()), x)
        for body in chains:
            norm = body.get_submodule(body.steps[0][0])
            assert isinstance(norm, nn.BatchNorm2d)
            statistics, act = shared.statistics(norm), body.activation(body.steps[0])
            order = _Write.apply(shared, order, self._new_maps(body, shared, order, statistics, act))
        closed: Tensor = _Close.apply(shared, order)
        return closed

    def _new_maps(
        self, body: FusedChain, shared: "_SharedMaps", order: Tensor, statistics: Statistics, act: str
    ) -> Tensor:
        """Return the new maps of a layer, computed from all maps so far."""
        norm, conv = (body.get_submodule(name) for name in (body.steps[0][0], body.steps[1][0]))
        functions = functions_for(conv, shared.maps) if self.operators.fused else None
        if functions is None:
            read = _Read.apply(shared, order, norm.weight, norm.bias, statistics, act)
            return body.run(read, body.steps[1:], shared.reader(statistics, act))
        new = _ReadConvolved.apply(shared, order, norm.weight, norm.bias, conv.weight, statistics, act, functions)
        return body.run(new, body.steps[2:])

    def _training_chains(self) -> list[FusedChain]:
        """Return the layers' chains if all of them are in training mode and their first steps are unchanged."""
        bodies = [block.get_submodule("new") for block in self]
        chains = [body for body in bodies if isinstance(body, FusedChain)]
        if len(chains) < len(bodies) or any(map(has_hooks, (*self, *bodies))):
            return []
        reads = all(is_plain_norm(next(body.children())) and body.is_as_built(body.steps[0]) for body in chains)
        return chains if reads and all(part.training for part in self.modules()) else []


def is_dense(layer: graph.Layer) -> bool:
    """Return whether a layer normalises its input, computes new maps and concatenates them with its input."""
    match layer:
        case graph.Concat(parts=(graph.Identity(), graph.Seq(parts=(graph.Norm(), graph.Act(), *rest)))):
            return any(isinstance(part, graph.Conv) for part in rest) and not isinstance(rest[0], graph.Gate)
    return False


def _growth(body: FusedChain) -> int:
    return [layer.out for layer in body.layers.values() if isinstance(layer, graph.Conv)][-1]


class _SharedMaps:
    """All maps of a dense block with their statistics, and in the backward pass with their gradient."""

    def __init__(self, kernels: Kernels, x: Tensor, channels: int) -> None:
        self.kernels, self.filled, self.released = kernels, 0, False
        check_count(x.numel() // x.shape[1])
        size = (x.shape[0], channels, *x.shape[2:])
        self.maps = torch.empty(size, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
        self.gradient: Tensor | None = None
        each = partial(torch.zeros, channels, dtype=real(x), device=x.device)
        self.mean, self.variance = each(), each()
        # Gradients through mean and variance, from all readers.
        self.sums, self.products = each(), each()

    @property
    def count(self) -> int:
        """Number of values per channel."""
        return self.maps.numel() // self.maps.shape[1]

    def write(self, new: Tensor) -> slice:
        """Append maps; return their channels."""
        place = slice(self.filled, self.filled + new.shape[1])
        new = channels_last(new.to(self.maps.dtype))
        self.maps[:, place] = new
        self.mean[place], self.variance[place] = self.kernels.statistics(new)
        self.filled = place.stop
        return place

    def statistics(self, norm: nn.BatchNorm2d) -> Statistics:
        """Return the statistics of all maps so far for a normalisation, and update its running statistics."""
        mean, variance = self.mean[: self.filled].clone(), self.variance[: self.filled].clone()
        update_running_statistics(norm, mean, variance, self.count)
        return Statistics.of(self.kernels, norm, mean, variance)

    def reader(self, s: Statistics, act: str) -> Callable[[], Tensor]:
        """Return a function that normalises and activates all maps so far."""
        return partial(self.kernels.forward, self.maps[:, : self.filled], s.scale, s.shift, act)

    def gather(self, d: Tensor, s: Statistics, act: str) -> tuple[Tensor, Tensor]:
        """Add a reader's gradient to that of the maps that it read; return those of its norm's weight and bias."""
        assert self.gradient is not None
        seen = slice(0, len(s.mean))
        given = (self.maps[:, seen], s.scale, s.shift, s.mean, act)
        return self._accumulate(s, *self.kernels.gather(d, *given, self.gradient[:, seen]))

    def convolve(self, filters: Tensor, s: Statistics, act: str, functions: ctypes.CDLL) -> Tensor:
        """Return the 1x1 convolution of the normalised and activated maps."""
        return convolve(functions, self.maps[:, : len(s.mean)], s.scale, s.shift, act, filters)

    def convolve_back(
        self, d: Tensor, filters: Tensor, s: Statistics, act: str, functions: ctypes.CDLL, *, needed: bool
    ) -> tuple[Tensor | None, Tensor, Tensor]:
        """Do the same as `gather` for a reader of `convolve`; return the gradient of the filters, if needed, first."""
        assert self.gradient is not None
        seen = slice(0, len(s.mean))
        given = (self.maps[:, seen], s.scale, s.shift, s.mean, act, filters, self.gradient[:, seen])
        gradient, sums, products = convolve_back(functions, d, *given, needed=needed)
        return gradient, *self._accumulate(s, sums, products)

    def _accumulate(self, s: Statistics, sums: Tensor, products: Tensor) -> tuple[Tensor, Tensor]:
        """Accumulate the gradients through the statistics; return those of the norm's weight and bias."""
        seen = slice(0, len(s.mean))
        self.sums[seen] += s.scale * sums
        self.products[seen] += s.scale * s.inverse.square() * products
        return products * s.inverse, sums

    def start_backward(self, d: Tensor) -> None:
        """Start a backward pass with the upstream gradient.

        Raises:
            RuntimeError: An earlier backward pass has released the maps.
        """
        if self.released:
            raise RuntimeError(
                "trying to backward through a dense block a second time: its maps have been freed, "
                "retain_graph or not; build the network without fused and memory_efficient for that"
            )
        self.gradient = d.clone(memory_format=torch.channels_last)
        self.sums.zero_()
        self.products.zero_()

    def release(self) -> None:
        """Release the memory, which autograd would hold until the end of the whole pass."""
        self.maps, self.gradient, self.released = self.maps.new_empty(0), None, True

    def finished_gradient(self, place: slice) -> Tensor:
        """Return the complete gradient of maps, after the backward passes of all their readers."""
        assert self.gradient is not None
        slope = -self.products[place] / self.count
        offset = -self.sums[place] / self.count - slope * self.mean[place]
        return self.kernels.forward(self.maps[:, place], slope, offset, "identity", None, self.gradient[:, place])


class _Write(torch.autograd.Function):
    """Append new maps. `order` is a number without meaning that makes autograd keep the order of all operations."""

    @staticmethod
    def forward(ctx: Any, shared: _SharedMaps, order: Tensor, new: Tensor) -> Tensor:
        ctx.shared, ctx.place = shared, shared.write(new)
        return order.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, order: Tensor) -> tuple[Tensor | None, ...]:
        shared = ctx.shared
        d_new = shared.finished_gradient(ctx.place) if ctx.needs_input_grad[2] else None
        if ctx.place.start == 0:
            shared.release()
        return None, order, d_new


class _Read(torch.autograd.Function):
    """Normalise and activate all maps so far."""

    @staticmethod
    def forward(
        ctx: Any, shared: _SharedMaps, order: Tensor, weight: Tensor, bias: Tensor, statistics: Statistics, act: str
    ) -> Tensor:
        ctx.shared, ctx.statistics, ctx.act = shared, statistics, act
        return shared.reader(statistics, act)()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d: Tensor) -> tuple[Tensor | None, ...]:
        d_weight, d_bias = ctx.shared.gather(channels_last(d), ctx.statistics, ctx.act)
        return None, d.new_zeros(()), d_weight, d_bias, None, None


class _ReadConvolved(torch.autograd.Function):
    """Normalise, activate and convolve all maps so far."""

    @staticmethod
    def forward(
        ctx: Any,
        shared: _SharedMaps,
        order: Tensor,
        weight: Tensor,
        bias: Tensor,
        filters: Tensor,
        statistics: Statistics,
        act: str,
        functions: ctypes.CDLL,
    ) -> Tensor:
        ctx.save_for_backward(filters)
        ctx.shared, ctx.how = shared, (statistics, act, functions)
        return shared.convolve(filters, *ctx.how)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d: Tensor) -> tuple[Tensor | None, ...]:
        (filters,) = ctx.saved_tensors
        needed = ctx.needs_input_grad[4]
        d_filters, d_weight, d_bias = ctx.shared.convolve_back(channels_last(d), filters, *ctx.how, needed=needed)
        return None, d.new_zeros(()), d_weight, d_bias, d_filters, None, None, None


class _Close(torch.autograd.Function):
    """Return the block's maps for the next layer."""

    @staticmethod
    def forward(ctx: Any, shared: _SharedMaps, order: Tensor) -> Tensor:
        ctx.shared = shared
        return shared.maps.detach()  # detached, to avoid a reference cycle

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d: Tensor) -> tuple[Tensor | None, ...]:
        ctx.shared.start_backward(d)
        return None, d.new_zeros(())
