"""Shapes by arithmetic are the shapes that torch gives, and what cannot be is refused where torch refuses."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from convwright.arch.layers import Conv, Pool
from convwright.arch.shapes import TooSmallError, conv_padding, conv_shape, pool_shape
from convwright.errors import NetworkError
from convwright.modules.combinators import SameConv2d

from .strategies import convolutions, pools

sides = st.integers(1, 12)


def torch_shape(module: nn.Module, height: int, width: int) -> tuple[int, ...] | None:
    try:
        return tuple(module.to("meta")(torch.empty(1, 6, height, width, device="meta")).shape[1:])
    except RuntimeError:
        return None


@settings(max_examples=300)
@given(convolutions(6), sides, sides)
def test_convolutions(conv: Conv, height: int, width: int) -> None:
    kind, padding = (SameConv2d, 0) if conv.same else (nn.Conv2d, conv_padding(conv))
    module = kind(6, conv.out, conv.kernel, conv.stride, padding, conv.dilation, conv.groups)
    try:
        shape = conv_shape(conv, (6, height, width))
    except TooSmallError:
        shape = None
    assert shape == torch_shape(module, height, width)


@settings(max_examples=300)
@given(pools(), sides, sides)
def test_pools(pool: Pool, height: int, width: int) -> None:
    kind = nn.MaxPool2d if pool.function == "max" else nn.AvgPool2d
    try:
        shape = pool_shape(pool, (6, height, width))
    except TooSmallError:
        shape = None
    assert shape == torch_shape(kind(pool.kernel, pool.stride, pool.padding, ceil_mode=pool.ceil), height, width)


@given(st.integers(1, 4), st.integers(1, 3), sides)
def test_a_convolution_without_given_padding_keeps_the_size_if_its_kernel_is_odd(
    half: int, dilation: int, side: int
) -> None:
    assert conv_shape(Conv(4, 2 * half + 1, dilation=dilation), (3, side, side)) == (4, side, side)


def test_channels_must_divide_into_groups() -> None:
    with pytest.raises(NetworkError, match="5 channels cannot be convolved in 2 groups"):
        conv_shape(Conv(4, groups=2), (5, 8, 8))
