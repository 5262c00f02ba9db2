"""Muon (Jordan et al. 2024): gradients of matrices are orthogonalised before they are subtracted.

The gradient of a convolution is read as a matrix with a row for each output channel. If its singular value
decomposition is U S V^T, the update is approximately U V^T: about equally large in all directions.
See https://kellerjordan.github.io/posts/muon/. `torch.optim.Muon` takes two-dimensional weights only, exists from
torch 2.9 on, and computes in bfloat16.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""Coefficients of the odd polynomial of degree 5 that takes all singular values near 1 in few iterations."""
ITERATIONS = 5
"""Iterations of the polynomial; singular values end between 0.6 and 1.25."""
WIDE = 2
"""Ratio of columns to rows from which on the factors, not the matrix, are multiplied in each iteration."""
SMALLEST_NORM = 1e-7
"""Norm below which a gradient is not orthogonalised: the update shrinks with it, so a layer without gradients rests."""


class Muon(torch.optim.Optimizer):
    """Muon for matrices, and SGD for the other weights, each with momentum.

    Weight decay is decoupled from the gradients of all weights, as in AdamW: a step multiplies a weight by
    1 - `lr` * `weight_decay`.

    Args:
        groups: Groups of weights; `matrices` says whether the gradients of the group are orthogonalised,
            `weight_decay` is its weight decay, and `lr` its learning rate.
        lr: Learning rate of groups that have none.
        momentum: Share of the sum of former gradients that is kept in a step.
        nesterov: Whether the momentum is Nesterov's.
    """

    def __init__(self, groups: Iterable[dict[str, Any]], lr: float, momentum: float, *, nesterov: bool = True) -> None:
        defaults = {"lr": lr, "momentum": momentum, "nesterov": nesterov, "weight_decay": 0.0, "matrices": False}
        super().__init__(groups, defaults)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update the weights that have gradients.

        Args:
            closure: None; the gradients have been computed before.
        """
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._update(weight, weight.grad, group)

    def _update(self, weight: torch.Tensor, gradient: torch.Tensor, group: dict[str, Any]) -> None:
        momentum, rate = group["momentum"], group["lr"]
        state = self.state[weight]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(weight)
        total = state["momentum_buffer"].mul_(momentum).add_(gradient)
        direction = gradient.add(total, alpha=momentum) if group["nesterov"] else total
        if group["matrices"]:
            rows, columns = weight.shape[0], weight[0].numel()
            direction, rate = orthogonalised(direction), rate * max(1.0, rows / columns) ** 0.5
        weight.mul_(1 - group["lr"] * group["weight_decay"]).add_(direction, alpha=-rate)


def orthogonalised(gradient: torch.Tensor) -> torch.Tensor:
    """Return approximately U V^T for a gradient U S V^T, by Newton-Schulz iteration.

    An iteration multiplies the matrix X by F = a I + b G + c G^2, where G = X X^T. The factors are polynomials of the
    first G, and the next G is F G F. For wide matrices the factors are multiplied with each other, and once with the
    matrix; that takes less time, and single precision stays accurate to about three digits even if singular values
    differ by many orders of magnitude.

    Args:
        gradient: A weight's gradient, read as a matrix with a row for each entry of its first dimension.

    Returns:
        A tensor of the same shape, whose singular values are between 0.6 and 1.25, except those that were below
        1/50 of the largest, if its norm is at least `SMALLEST_NORM`.
    """
    matrix: torch.Tensor = gradient.flatten(1)
    tall = matrix.shape[0] > matrix.shape[1]
    if tall:
        matrix = matrix.T
    matrix = matrix / matrix.norm().clamp(min=SMALLEST_NORM)
    gram = matrix @ matrix.T
    factor = _factor(gram)
    wide = matrix.shape[1] >= WIDE * matrix.shape[0]
    product = factor if wide else factor @ matrix
    for _ in range(ITERATIONS - 1):
        gram = factor @ gram @ factor if wide else product @ product.T
        factor = _factor(gram)
        product = factor @ product
    matrix = product @ matrix if wide else product
    return (matrix.T if tall else matrix).reshape(gradient.shape)


def _factor(gram: torch.Tensor) -> torch.Tensor:
    """Return the factor F of one iteration for a Gram matrix G."""
    first, third, fifth = NEWTON_SCHULZ
    identity = torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    return torch.addmm(first * identity + third * gram, gram, gram, alpha=fifth)


def matrices_of(module: nn.Module) -> set[torch.Tensor]:
    """Return the weights that are one matrix: of linear layers, and of convolutions that have one group."""
    layers = [part for part in module.modules() if isinstance(part, nn.Linear | nn.Conv2d)]
    return {layer.weight for layer in layers if isinstance(layer, nn.Linear) or layer.groups == 1}
