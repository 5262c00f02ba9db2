"""The combinators of the layer graph as torch modules."""

from collections.abc import Iterable

import torch
from torch import nn
from torch.nn.functional import pad

Named = Iterable[tuple[str, nn.Module]]


class Chain(nn.Sequential):
    """A sequence with named parts."""

    def __init__(self, parts: Named) -> None:
        super().__init__()
        for name, part in parts:
            self.add_module(name, part)


class Sum(nn.Module):
    """The sum of branches with the same input, with stochastic depth (Huang et al. 2016).

    Args:
        parts: Branches by name; the first one is the body.
        drop_rate: Probability that the body is left out of an image's sum in training. The others are divided by the
            probability of not being left out, so that evaluation needs no correction.
    """

    def __init__(self, parts: Named, drop_rate: float = 0.0) -> None:
        super().__init__()
        for name, part in parts:
            self.add_module(name, part)
        self.drop_rate = drop_rate

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run the branches in order and add their outputs."""
        first, *others = self.children()
        total = self._dropped(first(x))
        for branch in others:
            total = total + branch(x)
        return total

    def _dropped(self, body: torch.Tensor) -> torch.Tensor:
        if not self.training or self.drop_rate == 0:
            return body
        return body * self._keep_factors(body)

    def _keep_factors(self, x: torch.Tensor) -> torch.Tensor:
        """Draw a factor for each image, N x 1 x 1 x 1: 0, or 1 / (1 - drop rate)."""
        keep = 1 - self.drop_rate
        kept = torch.empty((len(x), 1, 1, 1), dtype=x.dtype, device=x.device).bernoulli_(keep)
        return kept / keep

    def extra_repr(self) -> str:
        """Return the drop rate, if there is one."""
        return f"drop_rate={self.drop_rate:.3g}" if self.drop_rate else ""


class Join(nn.Module):
    """The concatenated channels of all branches, which have the same input."""

    def __init__(self, parts: Named) -> None:
        super().__init__()
        for name, part in parts:
            self.add_module(name, part)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run the branches in order and concatenate their outputs."""
        return torch.cat([branch(x) for branch in self.children()], dim=1)


class Gated(Chain):
    """The input, multiplied by factors that the parts compute from it (squeeze-and-excitation)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """N x C x H x W in, gated by N x C x 1 x 1."""
        return x * self.excitation(x)

    def excitation(self, x: torch.Tensor) -> torch.Tensor:
        """Return the factors, N x C x 1 x 1; each is from 0 to 1 if the last part is a sigmoid."""
        factors: torch.Tensor = super().forward(x)  # type: ignore[no-untyped-call]
        return factors


class PadChannels(nn.Module):
    """Append zero channels until there are `out`."""

    def __init__(self, out: int) -> None:
        super().__init__()
        self.out = out

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """N x C x H x W to N x out x H x W."""
        return nn.functional.pad(x, (0, 0, 0, 0, 0, self.out - x.shape[1]))

    def extra_repr(self) -> str:
        """Return the number of channels."""
        return str(self.out)


class Scale(nn.Module):
    """The input times a constant."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Multiply."""
        return x * self.factor

    def extra_repr(self) -> str:
        """Return the factor."""
        return f"{self.factor:g}"


class FullyConnected(nn.Linear):
    """A linear layer over whole maps: N x C x H x W to N x out x 1 x 1, as input of gates and sums."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Flatten, multiply, and return each output as a map of one pixel."""
        return super().forward(input.flatten(1))[:, :, None, None]


class SameConv2d(nn.Conv2d):
    """Convolution with TensorFlow's padding, which depends on the input's size; an odd pixel goes below and right."""

    def pads(self, x: torch.Tensor) -> tuple[int, int, int, int]:
        """Return the padding above, below, on the left and on the right."""
        sizes = zip(x.shape[-2:], self.kernel_size, self.stride, self.dilation, strict=True)
        height, width = (_padding(*size) for size in sizes)
        return height // 2, height - height // 2, width // 2, width - width // 2

    def _conv_forward(self, input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        """N x C x H x W to N x out x ceil(H / stride) x ceil(W / stride)."""
        top, bottom, left, right = self.pads(input)
        padded = pad(input, (left, right, top, bottom)) if bottom or right else input
        output: torch.Tensor = super()._conv_forward(padded, weight, bias)
        return output


def _padding(size: int, kernel: int, stride: int, dilation: int) -> int:
    """Return the padding of one axis on both sides together."""
    return max(0, (-(-size // stride) - 1) * stride + (kernel - 1) * dilation + 1 - size)
