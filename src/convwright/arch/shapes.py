"""How each primitive changes the shape of feature maps. Shapes are (channels, height, width)."""

from convwright.arch.layers import Conv, Pool, Size
from convwright.errors import NetworkError

Shape = tuple[int, int, int]


def pair(size: Size) -> tuple[int, int]:
    """Return (height, width) of a size that may be one number for both."""
    return (size, size) if isinstance(size, int) else size


def conv_padding(conv: Conv) -> tuple[int, int]:
    """Padding on each side, (height, width); half of what the dilated kernel reaches unless given."""
    if conv.padding is not None:
        return pair(conv.padding)
    height, width = pair(conv.kernel)
    return (height - 1) * conv.dilation // 2, (width - 1) * conv.dilation // 2


def conv_shape(conv: Conv, shape: Shape) -> Shape:
    """Shape of a convolution's output. NetworkError if channels or size do not allow it."""
    channels, height, width = shape
    if channels % conv.groups:
        raise NetworkError(f"{channels} channels cannot be convolved in {conv.groups} groups")
    if conv.same:
        stride_h, stride_w = pair(conv.stride)
        return _checked(conv, shape, (conv.out, -(-height // stride_h), -(-width // stride_w)))
    kernel, stride, padding = conv.kernel, conv.stride, conv.padding
    if isinstance(kernel, int) and isinstance(stride, int) and padding is None:  # nearly always
        reach = (kernel - 1) * conv.dilation
        slack = reach // 2 * 2 - reach
        return _checked(conv, shape, (conv.out, (height + slack - 1) // stride + 1, (width + slack - 1) // stride + 1))
    (pad_h, pad_w), (kernel_h, kernel_w), (stride_h, stride_w) = (
        conv_padding(conv),
        pair(kernel),
        pair(stride),
    )
    out = (
        conv.out,
        (height + 2 * pad_h - conv.dilation * (kernel_h - 1) - 1) // stride_h + 1,
        (width + 2 * pad_w - conv.dilation * (kernel_w - 1) - 1) // stride_w + 1,
    )
    return _checked(conv, shape, out)


def pool_shape(pool: Pool, shape: Shape) -> Shape:
    """Shape of a pooling layer's output, by torch's rule for windows that reach beyond the edge."""
    channels, height, width = shape
    return _checked(pool, shape, (channels, _pooled(pool, height), _pooled(pool, width)))


def _pooled(pool: Pool, size: int) -> int:
    reach = size + 2 * pool.padding - pool.kernel
    if not pool.ceil:
        return reach // pool.stride + 1
    count = -(-reach // pool.stride) + 1
    # A window must start inside the input or its left padding.
    return count - 1 if (count - 1) * pool.stride >= size + pool.padding else count


def _checked(layer: Conv | Pool, before: Shape, after: Shape) -> Shape:
    if after[1] < 1 or after[2] < 1:
        raise TooSmallError(f"{layer!r} cannot read a map of {before[1]} x {before[2]}")
    return after


class TooSmallError(NetworkError):
    """The maps become smaller than a window that must read them."""
