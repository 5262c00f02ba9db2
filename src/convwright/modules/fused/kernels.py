"""The kernels of the operators, in torch as their specification, and compiled.

Maps are N x C x H x W in torch's channels-last format. `scale` and `shift` have C values each; z = x * scale + shift
are the normalised maps. `act` is a name of `ACTS`. `d` is the upstream gradient, that of the operator's output, and dz
the gradient of z. `y` is the operator's output where it ends in a ReLU. `squeezed` (N x C) is what the squeeze adds to
the gradient of act(z) at each position. Maps may have 16 bits; all other tensors and the arithmetic have at least 32.
"""

import ctypes
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from convwright.modules.fused.library import NUMBERS, call, int64, library

ACTS = ("identity", "relu", "relu6", "silu", "hardswish")
_FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "identity": lambda z: z,
    "relu": torch.relu,
    "relu6": functional.relu6,
    "silu": functional.silu,
    "hardswish": functional.hardswish,
}


class Kernels(Protocol):
    """The passes over maps that operators consist of."""

    def statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return each channel's mean and variance (without Bessel's correction)."""

    def statistics_by_image(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return each channel's mean and variance, and each image's means, N x C."""

    def forward(
        self, x: Tensor, scale: Tensor, shift: Tensor, act: str,
        gate: Tensor | None = None, residual: Tensor | None = None, rectified: bool = False,
    ) -> Tensor:  # fmt: skip
        """Return act(z) * gate + residual, with `gate` N x C; if `rectified` (only with a residual), ReLU of it."""

    def squeeze(self, x: Tensor, scale: Tensor, shift: Tensor, act: str) -> Tensor:
        """Return the mean of each image's act(z), N x C."""

    def gate_backward(
        self, d: Tensor, y: Tensor | None, x: Tensor, scale: Tensor, shift: Tensor, mean: Tensor, act: str
    ) -> tuple[Tensor, Tensor]:
        """Return the gradient of the sum whose ReLU is `y` (None for a sum without ReLU), and five sums, 5 x N x C.

        With r, the derivative of act at z, the five sums over each image's map are those of d * act(z) (the gradient of
        the gate), r, r * (x - mean), d * r and d * r * (x - mean).
        """

    def backward_sums(
        self, d: Tensor, y: Tensor | None, gate: Tensor | None, squeezed: Tensor | None,
        x: Tensor, scale: Tensor, shift: Tensor, mean: Tensor, act: str,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """Return each channel's sums of dz and of dz * (x - mean).

        dz = (d * gate + squeezed) * the derivative of act, with d set to 0 where `y` is 0; `squeezed` is N x C.
        """

    def backward_input(
        self, d: Tensor, y: Tensor | None, gate: Tensor | None, squeezed: Tensor | None,
        x: Tensor, scale: Tensor, shift: Tensor, slope: Tensor, offset: Tensor, act: str,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """Return scale * dz + slope * x + offset, and d with 0 where `y` is 0."""

    def gather(
        self, d: Tensor, x: Tensor, scale: Tensor, shift: Tensor, mean: Tensor, act: str, gathered: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Add scale * dz to `gathered`, which has the layout of x; return the sums of `backward_sums`."""


def compiled(x: Tensor) -> "Compiled | None":
    """Return the compiled kernels for maps of this type, or None."""
    if x.device.type != "cpu" or x.dtype not in NUMBERS:
        return None
    found = library(x.dtype)
    return Compiled(found, x.dtype) if found else None


def channels_last(x: Tensor) -> Tensor:
    """Return maps in the channels-last format."""
    return x.contiguous(memory_format=torch.channels_last)


def real(x: Tensor) -> torch.dtype:
    """Return the type of the arithmetic on maps: 32 bits for maps of 16 bits, else the type of the maps."""
    return torch.float32 if x.dtype in (torch.bfloat16, torch.float16) else x.dtype


class Plain:
    """The kernels in torch."""

    def statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """See `Kernels`."""
        variance, mean = torch.var_mean(x.to(real(x)), (0, 2, 3), correction=0)
        return mean, variance

    def statistics_by_image(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See `Kernels`."""
        return *self.statistics(x), x.mean((2, 3), dtype=real(x))

    def forward(
        self, x: Tensor, scale: Tensor, shift: Tensor, act: str,
        gate: Tensor | None = None, residual: Tensor | None = None, rectified: bool = False,
    ) -> Tensor:  # fmt: skip
        """See `Kernels`."""
        y = _FUNCTIONS[act](_normalised(x, scale, shift))
        y = y if gate is None else y * _per_image(gate)
        y = y if residual is None else y + residual
        return channels_last(torch.relu(y) if rectified else y).to(x.dtype)

    def squeeze(self, x: Tensor, scale: Tensor, shift: Tensor, act: str) -> Tensor:
        """See `Kernels`."""
        return self.forward(x.to(real(x)), scale, shift, act).mean((2, 3))

    def gate_backward(
        self, d: Tensor, y: Tensor | None, x: Tensor, scale: Tensor, shift: Tensor, mean: Tensor, act: str
    ) -> tuple[Tensor, Tensor]:
        """See `Kernels`."""
        d = d if y is None else d * (y > 0)
        _, slope = _upstream(torch.ones_like(x, dtype=real(x)), None, None, None, x, scale, shift, act)
        gates = (d * self.forward(x.to(real(x)), scale, shift, act)).sum((2, 3))
        product = slope * (x - _per_channel(mean))
        weighted = [(d * term).sum((2, 3)) for term in (slope, product)]  # one after the other, to save memory
        return d, torch.stack([gates, slope.sum((2, 3)), product.sum((2, 3)), *weighted])

    def backward_sums(
        self, d: Tensor, y: Tensor | None, gate: Tensor | None, squeezed: Tensor | None,
        x: Tensor, scale: Tensor, shift: Tensor, mean: Tensor, act: str,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """See `Kernels`."""
        _, dz = _upstream(d, y, gate, squeezed, x, scale, shift, act)
        return dz.sum((0, 2, 3)), (dz * (x - _per_channel(mean))).sum((0, 2, 3))

    def backward_input(
        self, d: Tensor, y: Tensor | None, gate: Tensor | None, squeezed: Tensor | None,
        x: Tensor, scale: Tensor, shift: Tensor, slope: Tensor, offset: Tensor, act: str,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """See `Kernels`."""
        d_sum, dz = _upstream(d, y, gate, squeezed, x, scale, shift, act)
        return channels_last(dz * _per_channel(scale) + _normalised(x, slope, offset)).to(x.dtype), d_sum

    def gather(
        self, d: Tensor, x: Tensor, scale: Tensor, shift: Tensor, mean: Tensor, act: str, gathered: Tensor
    ) -> tuple[Tensor, Tensor]:
        """See `Kernels`."""
        _, dz = _upstream(d, None, None, None, x, scale, shift, act)
        gathered += dz * _per_channel(scale)
        return dz.sum((0, 2, 3)), (dz * (x - _per_channel(mean))).sum((0, 2, 3))


def _upstream(
    d: Tensor, y: Tensor | None, gate: Tensor | None, squeezed: Tensor | None,
    x: Tensor, scale: Tensor, shift: Tensor, act: str,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Return the gradients of the sum and of the normalised maps."""
    d = d if y is None else d * (y > 0)
    with torch.enable_grad():
        z = _normalised(x, scale, shift).detach().requires_grad_()
        u = _FUNCTIONS[act](z)
        gated = d if gate is None or squeezed is None else d * _per_image(gate) + _per_image(squeezed)
        gated = gated.to(z.dtype)
        return d, gated if act == "identity" else torch.autograd.grad(u, z, gated)[0]


def _normalised(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    return torch.addcmul(_per_channel(shift), x.to(scale.dtype), _per_channel(scale))


def _per_channel(values: Tensor) -> Tensor:
    return values.view(1, -1, 1, 1)


def _per_image(values: Tensor) -> Tensor:
    return values[:, :, None, None]


PLAIN = Plain()


class Compiled:
    """The kernels of kernels.cpp."""

    def __init__(self, functions: ctypes.CDLL, dtype: torch.dtype) -> None:
        self.functions, self.dtype = functions, dtype

    def statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """See `Kernels`."""
        return self.statistics_by_image(x)[:2]

    def statistics_by_image(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See `Kernels`."""
        mean, variance = (x.new_empty(x.shape[1], dtype=real(x)) for _ in range(2))
        means = x.new_empty(x.shape[:2], dtype=real(x))
        self._call("statistics_of", x, stride_of(x), *_sizes(x), mean, variance, means, wide=(x,), factors=(means,))
        return mean, variance, means

    def forward(
        self, x: Tensor, scale: Tensor, shift: Tensor, act: str,
        gate: Tensor | None = None, residual: Tensor | None = None, rectified: bool = False,
    ) -> Tensor:  # fmt: skip
        """See `Kernels`."""
        y = _empty(x)
        apart = stride_of(x if residual is None else residual)
        given = (scale, shift, ACTS.index(act), gate, residual, apart, int(rectified))
        wide = (x,) if residual is None else (x, residual)
        self._call("forward_of", x, stride_of(x), *_sizes(x), *given, y, wide=wide, factors=(gate,))
        return y

    def squeeze(self, x: Tensor, scale: Tensor, shift: Tensor, act: str) -> Tensor:
        """See `Kernels`."""
        means = x.new_empty(x.shape[:2], dtype=real(x))
        self._call("squeeze_of", x, *_sizes(x), scale, shift, ACTS.index(act), means, factors=(means,))
        return means

    def gate_backward(
        self, d: Tensor, y: Tensor | None, x: Tensor, scale: Tensor, shift: Tensor, mean: Tensor, act: str
    ) -> tuple[Tensor, Tensor]:
        """See `Kernels`."""
        sums, d_sum = x.new_empty((5, *x.shape[:2]), dtype=real(x)), d if y is None else _empty(x)
        given = (scale, shift, mean, ACTS.index(act), d_sum, sums)
        self._call("gate_backward_of", d, y, x, *_sizes(x), *given, sums=sums)
        return d_sum, sums

    def backward_sums(
        self, d: Tensor, y: Tensor | None, gate: Tensor | None, squeezed: Tensor | None,
        x: Tensor, scale: Tensor, shift: Tensor, mean: Tensor, act: str,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """See `Kernels`."""
        sums, products = torch.empty_like(mean), torch.empty_like(mean)
        given = (scale, shift, mean, ACTS.index(act), sums, products)
        factors = _checked_pair(gate, squeezed)
        self._call("backward_sums_of", d, y, *factors, x, *_sizes(x), *given, factors=factors)
        return sums, products

    def backward_input(
        self, d: Tensor, y: Tensor | None, gate: Tensor | None, squeezed: Tensor | None,
        x: Tensor, scale: Tensor, shift: Tensor, slope: Tensor, offset: Tensor, act: str,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """See `Kernels`."""
        dx, d_sum = _empty(x), d if y is None else _empty(x)
        given = (scale, shift, slope, offset, ACTS.index(act), dx, d_sum)
        factors = _checked_pair(gate, squeezed)
        self._call("backward_input_of", d, y, *factors, x, *_sizes(x), *given, factors=factors)
        return dx, d_sum

    def gather(
        self, d: Tensor, x: Tensor, scale: Tensor, shift: Tensor, mean: Tensor, act: str, gathered: Tensor
    ) -> tuple[Tensor, Tensor]:
        """See `Kernels`."""
        if stride_of(gathered).value != stride_of(x).value:
            raise RuntimeError("the maps that gradients are added to must have the layout of the maps that are read")
        sums, products = torch.empty_like(mean), torch.empty_like(mean)
        given = (scale, shift, mean, ACTS.index(act), gathered, sums, products)
        self._call("gather_of", d, x, stride_of(x), *_sizes(x), *given, wide=(x, gathered))
        return sums, products

    def _call(
        self,
        name: str,
        *arguments: Any,
        wide: Sequence[Tensor] = (),
        factors: Sequence[Tensor | None] = (),
        sums: Tensor | None = None,
    ) -> None:
        """Check the arguments, so that no memory beyond a tensor is read or written, and call a function.

        Args:
            name: Name of the function.
            arguments: Its arguments.
            wide: The maps that may be channels of wider maps.
            factors: The tensors that are N x C.
            sums: The tensor that is 5 x N x C; all other tensors have C values.

        Raises:
            TypeError: A tensor has another type.
            RuntimeError: A tensor has another shape or layout.
        """
        tensors = [each for each in arguments if isinstance(each, Tensor)]
        shape, number = next((each.shape, real(each)) for each in tensors if each.ndim == 4)
        if not shape.numel():
            raise RuntimeError(f"{name}: maps of {tuple(shape)} are empty")
        for each in tensors:
            if each.dtype != (self.dtype if each.ndim == 4 else number) or each.device.type != "cpu":
                raise TypeError(f"{name} reads maps of {self.dtype}, and {number} for the rest, on the CPU")
            if each.ndim == 4:
                expected, fits = shape, stride_of(each).value == shape[1] or _is_one_of(each, wide)
            else:
                expected, fits = shape[:2] if _is_one_of(each, factors) else shape[1:2], each.is_contiguous()
                expected = torch.Size((5, *shape[:2])) if each is sums else expected
            if each.shape != expected or not fits:
                raise RuntimeError(
                    f"{name}: {tuple(each.shape)} at strides of {each.stride()}, where {tuple(expected)} is expected"
                    f"{', channels last' if each.ndim == 4 else ''}"
                )
        call(getattr(self.functions, name), *arguments)


def _is_one_of(tensor: Tensor, others: Sequence[Tensor | None]) -> bool:
    return any(tensor is other for other in others)


def _checked_pair(gate: Tensor | None, squeezed: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
    if (gate is None) != (squeezed is None):
        raise RuntimeError("gate and squeezed values must both be given, or neither")
    return gate, squeezed


def _sizes(x: Tensor) -> tuple[ctypes.c_int64, ...]:
    images, channels, height, width = x.shape
    return int64(images, height * width, channels)


def stride_of(x: Tensor) -> ctypes.c_int64:
    """Return the distance in memory between the pixels of maps, which may be channels of wider maps.

    Raises:
        RuntimeError: The channels of a pixel are not adjacent, or pixels are not evenly spaced.
    """
    images, channels, height, width = x.shape
    axes = [(width, x.stride(3), 1), (height, x.stride(2), width), (images, x.stride(0), width * height)]
    axes = [axis for axis in axes if axis[0] > 1]  # torch leaves the strides of the others open
    apart = axes[0][1] if axes else channels
    side_by_side = channels == 1 or x.stride(1) == 1
    if not side_by_side or apart < channels or any(stride != apart * pixels for _, stride, pixels in axes):
        raise RuntimeError(f"maps of {tuple(x.shape)} at strides of {x.stride()} are not channels last")
    return ctypes.c_int64(apart)


def _empty(x: Tensor) -> Tensor:
    return torch.empty(x.shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
