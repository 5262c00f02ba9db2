"""Padding as TensorFlow's: against its definition, written out by hand."""

import math

import pytest
import torch

from convwright.arch.layers import Conv
from convwright.arch.shapes import conv_shape
from convwright.errors import NetworkError
from convwright.modules.combinators import SameConv2d


@pytest.mark.parametrize("size", [1, 5, 8, 9])
@pytest.mark.parametrize("kernel", [1, 2, 3, 5])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_windows_lie_where_tensorflow_lays_them(size: int, kernel: int, stride: int) -> None:
    image = torch.randn(1, 1, size, size, dtype=torch.float64)
    conv = SameConv2d(1, 1, kernel, stride, 0, bias=False).double()
    out = math.ceil(size / stride)
    assert conv_shape(Conv(1, kernel, stride, same=True), (1, size, size)) == (1, out, out)
    before = max(0, (out - 1) * stride + kernel - size) // 2
    expected = torch.zeros(out, out, dtype=torch.float64)
    for row in range(out):
        for column in range(out):
            for i in range(kernel):
                for j in range(kernel):
                    y, x = row * stride + i - before, column * stride + j - before
                    if 0 <= y < size and 0 <= x < size:
                        expected[row, column] += conv.weight[0, 0, i, j] * image[0, 0, y, x]
    torch.testing.assert_close(conv(image)[0, 0], expected)


def test_it_is_either_same_or_given() -> None:
    with pytest.raises(NetworkError, match="either 'same' or given"):
        Conv(8, 3, padding=1, same=True)
