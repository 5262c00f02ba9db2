"""Dense blocks whose training memory grows with their depth, not with its square.

A layer of a dense block reads the maps of all layers before it. Concatenated and normalised for each reader anew, and
kept for the backward pass, they take memory in proportion to the square of the depth. Here all maps of a block lie side
by side in one tensor. Their statistics are taken once, when they are written, as they are the same for every reader;
what a reader makes of them is computed again in the backward pass. A reader's gradient is added up in place, and what
passes through the statistics is settled in one pass when all readers are done.
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
from convwright.modules.fused.norms import Statistics, check_count, is_ordinary, is_watched, remember
from convwright.modules.fused.pointwise import convolve, convolve_back, functions_for


class DenseStage(combinators.Chain):
    """A dense block, of layers that `is_dense` knows."""

    def __init__(self, parts: combinators.Named, operators: Operators) -> None:
        super().__init__(parts)
        self.operators = operators

    def forward(self, x: Tensor) -> Tensor:
        """N x C x H x W to as many and all new maps."""
        chains = self._learners()
        kernels = self.operators.kernels(x) if chains else None
        if kernels is None:
            return super().forward(x)
        shared = _Maps(kernels, x, x.shape[1] + sum(map(_growth, chains)))
        order = _Write.apply(shared, x.new_zeros(()), x)
        for body in chains:
            norm = body.get_submodule(body.steps[0][0])
            assert isinstance(norm, nn.BatchNorm2d)
            statistics, act = shared.statistics(norm), body.activation(body.steps[0])
            order = _Write.apply(shared, order, self._made(body, shared, order, statistics, act))
        return _Close.apply(shared, order)

    def _made(self, body: FusedChain, shared: "_Maps", order: Tensor, statistics: Statistics, act: str) -> Tensor:
        """What a layer makes of all maps that are there, with what its first step does to them."""
        norm, conv = (body.get_submodule(name) for name in (body.steps[0][0], body.steps[1][0]))
        functions = functions_for(conv, shared.maps) if self.operators.fused else None
        if functions is None:
            read = _Read.apply(shared, order, norm.weight, norm.bias, statistics, act)
            return body.run(read, body.steps[1:], shared.reader(statistics, act))
        new = _ReadConvolved.apply(shared, order, norm.weight, norm.bias, conv.weight, statistics, act, functions)
        return body.run(new, body.steps[2:])

    def _learners(self) -> list[FusedChain]:
        """Return the layers' chains, if all is in training mode and what reads shared maps is as it was built."""
        bodies = [block.get_submodule("new") for block in self]
        chains = [body for body in bodies if isinstance(body, FusedChain)]
        if len(chains) < len(bodies) or any(map(is_watched, (*self, *bodies))):
            return []
        reads = all(is_ordinary(next(body.children())) and body.is_as_built(body.steps[0]) for body in chains)
        return chains if reads and all(part.training for part in self.modules()) else []


def is_dense(layer: graph.Layer) -> bool:
    """Is this a layer that joins what it makes of all maps, normalised first, to them?"""
    match layer:
        case graph.Concat(parts=(graph.Identity(), graph.Seq(parts=(graph.Norm(), graph.Act(), *rest)))):
            return any(isinstance(part, graph.Conv) for part in rest) and not isinstance(rest[0], graph.Gate)
    return False


def _growth(body: FusedChain) -> int:
    return [layer.out for layer in body.layers.values() if isinstance(layer, graph.Conv)][-1]


class _Maps:
    """All maps of a dense block, with their statistics, and in the backward pass their gradient."""

    def __init__(self, kernels: Kernels, x: Tensor, channels: int) -> None:
        self.kernels, self.filled, self.released = kernels, 0, False
        check_count(x.numel() // x.shape[1])
        size = (x.shape[0], channels, *x.shape[2:])
        self.maps = torch.empty(size, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
        self.gradient: Tensor | None = None
        each = partial(torch.zeros, channels, dtype=real(x), device=x.device)
        self.mean, self.variance = each(), each()
        # What reaches them through their mean and their variance, from all readers.
        self.sums, self.products = each(), each()

    @property
    def count(self) -> int:
        """Values a channel."""
        return self.maps.numel() // self.maps.shape[1]

    def write(self, new: Tensor) -> slice:
        """Put maps behind those that are there; return where they are."""
        place = slice(self.filled, self.filled + new.shape[1])
        self.maps[:, place] = new
        self.mean[place], self.variance[place] = self.kernels.statistics(self.maps[:, place])
        self.filled = place.stop
        return place

    def statistics(self, norm: nn.BatchNorm2d) -> Statistics:
        """Return what a normalisation makes of all maps that are there, and note it in its running statistics."""
        mean, variance = self.mean[: self.filled].clone(), self.variance[: self.filled].clone()
        remember(norm, mean, variance, self.count)
        return Statistics.of(self.kernels, norm, mean, variance)

    def reader(self, s: Statistics, act: str) -> Callable[[], Tensor]:
        """Return a function that normalises and activates all maps that are there now."""
        return partial(self.kernels.forward, self.maps[:, : self.filled], s.scale, s.shift, act)

    def gather(self, d: Tensor, s: Statistics, act: str) -> tuple[Tensor, Tensor]:
        """Add a reader's gradient to that of the maps it has read; return the gradients of its weight and bias."""
        assert self.gradient is not None
        seen = slice(0, len(s.mean))
        given = (self.maps[:, seen], s.scale, s.shift, s.mean, act)
        return self._noted(s, *self.kernels.gather(d, *given, self.gradient[:, seen]))

    def convolve(self, filters: Tensor, s: Statistics, act: str, functions: ctypes.CDLL) -> Tensor:
        """Return the 1x1 convolution of what a reader makes of the maps."""
        return convolve(functions, self.maps[:, : len(s.mean)], s.scale, s.shift, act, filters)

    def convolve_back(
        self, d: Tensor, filters: Tensor, s: Statistics, act: str, functions: ctypes.CDLL, *, wanted: bool
    ) -> tuple[Tensor | None, Tensor, Tensor]:
        """Do as `gather` for a reader that `convolve`s; return the gradient of the filters too, first, if wanted."""
        assert self.gradient is not None
        seen = slice(0, len(s.mean))
        given = (self.maps[:, seen], s.scale, s.shift, s.mean, act, filters, self.gradient[:, seen])
        gradient, sums, products = convolve_back(functions, d, *given, wanted=wanted)
        return gradient, *self._noted(s, sums, products)

    def _noted(self, s: Statistics, sums: Tensor, products: Tensor) -> tuple[Tensor, Tensor]:
        """Note what reaches the maps through their statistics; return the gradients of the norm's weight and bias."""
        seen = slice(0, len(s.mean))
        self.sums[seen] += s.scale * sums
        self.products[seen] += s.scale * s.inverse.square() * products
        return products * s.inverse, sums

    def begin(self, d: Tensor) -> None:
        """Begin a backward pass with the gradient from without. RuntimeError if one has given the maps back."""
        if self.released:
            raise RuntimeError(
                "trying to backward through a dense block a second time: its maps have been freed, "
                "retain_graph or not; build the network without fused and memory_efficient for that"
            )
        self.gradient = d.clone(memory_format=torch.channels_last)
        self.sums.zero_()
        self.products.zero_()

    def release(self) -> None:
        """Give the memory back, which autograd would hold until its whole pass is done."""
        self.maps, self.gradient, self.released = self.maps.new_empty(0), None, True

    def settled(self, place: slice) -> Tensor:
        """Return the whole gradient of maps whose readers are all done."""
        assert self.gradient is not None
        slope = -self.products[place] / self.count
        offset = -self.sums[place] / self.count - slope * self.mean[place]
        one = torch.ones_like(slope)
        through = self.kernels.forward(self.maps[:, place], slope, offset, "identity")
        return through.add_(self.kernels.forward(self.gradient[:, place], one, torch.zeros_like(one), "identity"))


class _Write(torch.autograd.Function):
    """New maps into the block's; `order`, a number without meaning, has autograd keep the order of all."""

    @staticmethod
    def forward(ctx: Any, shared: _Maps, order: Tensor, new: Tensor) -> Tensor:
        ctx.shared, ctx.place = shared, shared.write(new)
        return order.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, order: Tensor) -> tuple[Tensor | None, ...]:
        shared = ctx.shared
        d_new = shared.settled(ctx.place) if ctx.needs_input_grad[2] else None
        if ctx.place.start == 0:
            shared.release()
        return None, order, d_new


class _Read(torch.autograd.Function):
    """All maps that are there, normalised and activated."""

    @staticmethod
    def forward(
        ctx: Any, shared: _Maps, order: Tensor, weight: Tensor, bias: Tensor, statistics: Statistics, act: str
    ) -> Tensor:
        ctx.shared, ctx.statistics, ctx.act = shared, statistics, act
        return shared.reader(statistics, act)()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d: Tensor) -> tuple[Tensor | None, ...]:
        d_weight, d_bias = ctx.shared.gather(channels_last(d), ctx.statistics, ctx.act)
        return None, d.new_zeros(()), d_weight, d_bias, None, None


class _ReadConvolved(torch.autograd.Function):
    """All maps that are there, normalised, activated and convolved."""

    @staticmethod
    def forward(
        ctx: Any,
        shared: _Maps,
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
        wanted = ctx.needs_input_grad[4]
        d_filters, d_weight, d_bias = ctx.shared.convolve_back(channels_last(d), filters, *ctx.how, wanted=wanted)
        return None, d.new_zeros(()), d_weight, d_bias, d_filters, None, None, None


class _Close(torch.autograd.Function):
    """The block's maps, for whoever reads them next."""

    @staticmethod
    def forward(ctx: Any, shared: _Maps, order: Tensor) -> Tensor:
        ctx.shared = shared
        return shared.maps.detach()  # the tensor itself would hold on to what holds on to it

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d: Tensor) -> tuple[Tensor | None, ...]:
        ctx.shared.begin(d)
        return None, d.new_zeros(())
