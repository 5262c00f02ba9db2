"""Preprocessing as part of an ONNX graph: a photograph of any size becomes the network's input as in training.

The graph computes what `convwright.data.images.fitted` computes with Pillow, to the last bit in ONNX Runtime: the part
of the image that is seen, averages of whole blocks where an image is much larger than the input (`reducing_gap`),
resampling with antialiasing in two passes of fixed-point arithmetic, and grey values of a network for grey images.
Sums of products of 22-bit weights would not be exact in float32; each weight is therefore split into 11 upper and 11
lower bits, for which they are.
"""

from dataclasses import dataclass

import numpy as np

from convwright.arch.resolution import Resolution, sides
from convwright.data.framing import FILL, Framing
from convwright.data.images import REDUCING_GAP
from convwright.engines.parts import IMAGE, PIXELS, PREPROCESSING
from convwright.exporting.onnx_terms import Formulas, Term

SUPPORT = {"bilinear": 1.0, "bicubic": 2.0}
"""Half the width of each filter, in pixels of the result."""
BITS = 22
"""Precision of Pillow's weights."""
LOW = 2048.0
"""Weights are split into multiples of this number and the rest."""
GROUP = 16
"""Pixels of the result that are computed from one window of the image."""
FINE = 1024.0
"""Numbers are split into multiples of its inverse and the rest."""
LUMA = (19595.0, 38470.0, 7471.0)
"""Weights of red, green and blue in a grey value, times 65536."""


def why_not(channels: int, framing: Framing) -> str:
    """Return why preprocessing cannot be part of a graph; empty if it can.

    Args:
        channels: Channels of the network's input.
        framing: How images are cropped and resized.
    """
    if framing.decoder == 1:
        return "the run was trained with an earlier version of the decoder, whose resizing a graph cannot repeat"
    if framing.interpolation not in SUPPORT:
        return f"images are resized with the filter {framing.interpolation}; {' and '.join(SUPPORT)} are supported"
    if channels not in (1, 3):
        return f"the network reads images of {channels} channels, and photographs have 3"
    return ""


@dataclass(frozen=True)
class _Axis:
    """One axis of the image: the part that is read and how it is resampled. All terms have one element."""

    start: Term
    """First pixel that is read, float64."""
    end: Term
    """End of the pixels that are read, float64."""
    factor: Term
    """Pixels that are averaged, float64."""
    low: Term
    """Start of the seen part in the averaged pixels, float32."""
    high: Term
    """End of the seen part in the averaged pixels, float32."""
    shift: Term
    """Number of the first pixel that is read, on the scale of `low` and `high`, float64."""
    size: Term
    """Pixels of the result, float64."""
    all_blocks: Term
    """Averaged pixels of the image that Pillow resamples, which may be more than those that are read, float64."""

    def or_other(self, condition: Term, other: "_Axis") -> "_Axis":
        """Return this axis where a condition holds, else another one."""
        return _Axis(*(self.start.to.where(condition, mine, vars(other)[name]) for name, mine in vars(self).items()))

    def blocks(self) -> Term:
        """Return the number of averaged pixels, float64."""
        return ((self.end - self.start) / self.factor).apply("Ceil")


def preprocessing(resolution: Resolution, channels: int, framing: Framing) -> Formulas:
    """Return the nodes from `IMAGE`, uint8, `1 x H x W x 3`, to `PIXELS`, uint8, `1 x C x height x width`.

    Args:
        resolution: Height and width of the network's input.
        channels: 1 for grey, 3 for RGB.
        framing: How images are cropped and resized.
    """
    to = Formulas(PREPROCESSING)
    size = sides(resolution)
    image = to.value(IMAGE, np.uint8)
    shape = image.apply("Shape", dtype=np.int64).cast(np.float64)
    vertical, horizontal = _axes((shape[1], shape[2]), size, framing)
    tall = _lost(vertical) > (_lost(horizontal) * 2.0).largest(0.0)
    first, second = vertical.or_other(tall, horizontal), horizontal.or_other(tall, vertical)
    pixels = _averaged(_read(image, vertical, horizontal, channels), vertical, horizontal)
    pixels = _swapped(pixels, vertical, horizontal, tall, channels)
    pixels = _resampled(pixels, first, channels, framing).transpose(0, 2, 1)
    pixels = _resampled(pixels, second, channels, framing)
    pixels = _turned(pixels, (second.size, first.size), tall, channels)
    if framing.resize == "pad":
        inner = vertical.size, horizontal.size
        shape = to.join([to.constant([channels], np.int64), *(side.cast(np.int64) for side in inner)])
        pixels = _bordered(pixels.reshape(shape), inner, size)
    pixels = pixels.reshape([1, channels, *size])  # not after another one: ONNX Runtime 1.30 for browsers fails on both
    to.node("Cast", [pixels], np.uint8, output=PIXELS, to=to.onnx.TensorProto.UINT8)
    return to


def _axes(image: tuple[Term, Term], size: tuple[int, int], framing: Framing) -> tuple[_Axis, _Axis]:
    """Return the vertical and the horizontal axis for an image's height and width."""
    to = image[0].to
    boxes = _boxes(image, size, framing)
    inner = [to.constant([side], np.float64) for side in size]
    if framing.resize == "pad":
        scales = [side / extent for side, (_, extent) in zip(inner, boxes, strict=True)]
        scale = scales[0].least(scales[1])
        inner = [
            (scale * extent).apply("Round").largest(1.0).least(most)
            for most, (_, extent) in zip(inner, boxes, strict=True)
        ]
    extents = [(begin + extent) - begin for begin, extent in boxes]  # as Pillow computes them, from both ends
    ratios = [extent / side for extent, side in zip(extents, inner, strict=True)]
    factors = [(ratio / REDUCING_GAP).floor().largest(1.0) for ratio in ratios]
    reducing = factors[0].largest(factors[1]) > 1.0
    support = SUPPORT[framing.interpolation]
    rows, columns = (
        _axis(begin, begin + extent, ratio, factor, reducing, most, side, support)
        for (begin, extent), ratio, factor, most, side in zip(boxes, ratios, factors, image, inner, strict=True)
    )
    return rows, columns


def _boxes(
    image: tuple[Term, Term], size: tuple[int, int], framing: Framing
) -> tuple[tuple[Term, Term], tuple[Term, Term]]:
    """Return start and extent of the part of an image that is seen, vertically and horizontally."""
    border = (1 - framing.crop) / 2
    top, left = (side * border for side in image)
    height, width = image[0] - top * 2.0, image[1] - left * 2.0
    if framing.resize != "crop":
        return (top, height), (left, width)
    to, ratio = top.to, size[1] / size[0]
    seen = width / height
    wide, same = seen > ratio, seen.equals(ratio)
    cut_width = to.where(wide, height * ratio, width)
    cut_height = to.where(wide, height, to.where(same, height, width / ratio))
    return (top + (height - cut_height) / 2.0, cut_height), (left + (width - cut_width) / 2.0, cut_width)


def _axis(
    low: Term, high: Term, ratio: Term, factor: Term, reducing: Term, most: Term, size: Term, support: float
) -> _Axis:
    """Return the pixels to read: where blocks are averaged those that Pillow reads, else all that the filter needs."""
    to = low.to
    margin = to.where(reducing, ratio * (support - 0.5), ratio.largest(1.0) * support + 1.0)
    start = (low - margin).largest(0.0).floor()
    end = (high + margin).apply("Ceil").least(most)
    origin = to.where(reducing, start, 0.0)
    low, high = (((bound - origin) / factor).cast(np.float32) for bound in (low, high))
    all_blocks = to.where(reducing, ((end - start) / factor).apply("Ceil"), most)
    return _Axis(start, end, factor, low, high, start - origin, size, all_blocks)


def _lost(axis: _Axis) -> Term:
    """Return by how many pixels resampling makes an image smaller."""
    return axis.all_blocks - axis.size


def _read(image: Term, vertical: _Axis, horizontal: _Axis, channels: int) -> Term:
    """Return the part of the image that is read, C x H x W, float32, in the network's channels."""
    to, axes = image.to, (vertical, horizontal)
    starts, ends = (to.join([getattr(axis, end).cast(np.int64) for axis in axes]) for end in ("start", "end"))
    # ONNX Runtime has fast paths for this order of axes and for exchanging the last two, and none for both at once.
    pixels = image.part(starts, ends, [1, 2]).transpose(0, 3, 1, 2).cast(np.float32)
    height, width = ((axis.end - axis.start).cast(np.int64) for axis in axes)
    pixels = pixels.reshape(to.join([to.constant([3], np.int64), height, width]))
    if channels == 3:
        return pixels
    weights = to.constant(np.array(LUMA).reshape(3, 1, 1), np.float32)
    return (((pixels * weights).sum([0], keep=True) + 32768.0) / 65536.0).floor()


def _swapped(pixels: Term, vertical: _Axis, horizontal: _Axis, tall: Term, channels: int) -> Term:
    """Return C x W x H pixels as they are, or C x H x W of a tall image, which is resampled vertically first."""
    to, one, count = pixels.to, pixels.to.constant([1.0], np.float64), pixels.to.constant([channels], np.int64)
    height, width = vertical.blocks(), horizontal.blocks()
    sizes = [size.cast(np.int64) for size in (to.where(tall, one, width), to.where(tall, width, one), height)]
    pixels = pixels.reshape(to.join([count, *sizes])).transpose(0, 1, 3, 2)
    return pixels.reshape(to.join([count, *_sizes(width, height, tall)]))


def _foldable(height: Term, width: Term, tall: Term) -> list[Term]:
    """Return three sizes, int64: height, width and 1 of a tall image, else 1, height and width."""
    to = height.to
    sizes = (to.where(tall, height, 1.0), to.where(tall, width, height), to.where(tall, 1.0, width))
    return [size.cast(np.int64) for size in sizes]


def _sizes(height: Term, width: Term, tall: Term) -> list[Term]:
    """Return height and width, exchanged for a tall image, int64."""
    to = height.to
    return [to.where(tall, width, height).cast(np.int64), to.where(tall, height, width).cast(np.int64)]


def _turned(pixels: Term, size: tuple[Term, Term], tall: Term, channels: int) -> Term:
    """Return pixels in the order C x H x W, exchanging height and width of a tall image, with an axis of one pixel."""
    to, (height, width) = pixels.to, size
    count = to.constant([channels], np.int64)
    return pixels.reshape(to.join([count, *_foldable(height, width, tall)])).transpose(0, 2, 1, 3)


def _averaged(pixels: Term, vertical: _Axis, horizontal: _Axis) -> Term:
    """Return averages of blocks of C x H x W pixels, C x W x H; the last ones of a row or column may be smaller.

    Pillow multiplies by 2^-24 times a whole number that is up to 1 too small. So a sum that a number of pixels divides,
    other than a power of two, gives one less. Blocks of more than 15 x 15 pixels may differ by 1 in 3 % of pixels.
    """
    to, axes = pixels.to, (vertical, horizontal)
    blocks = [axis.blocks() for axis in axes]
    factors = [axis.factor.cast(np.int64) for axis in axes]
    counts = [count.cast(np.int64) for count in blocks]
    missing = [
        (axis.factor * count - (axis.end - axis.start)).cast(np.int64) for axis, count in zip(axes, blocks, strict=True)
    ]
    zero, rest = (to.constant([number], np.int64) for number in (0, -1))
    pixels = pixels.padded(to.join([zero] * 4 + missing), 0.0)
    pixels = pixels.reshape(to.join([rest, counts[0], factors[0], factors[1] * counts[1]])).sum([2], keep=False)
    pixels = pixels.transpose(0, 2, 1)
    sums = pixels.reshape(to.join([rest, counts[1], factors[1], counts[0]])).sum([2], keep=False)
    heights, widths = (_block_sizes(axis, count) for axis, count in zip(axes, blocks, strict=True))
    # Only the last row of blocks may be lower. So two rows of numbers are computed and not one for each row.
    full, low = vertical.factor, vertical.factor - (vertical.factor * blocks[0] - (vertical.end - vertical.start))
    is_full = heights.equals(full).reshape([1, -1])
    added, divisor = (
        to.where(is_full, one.reshape([-1, 1]), other.reshape([-1, 1]))
        for one, other in zip(_rounding(widths * full), _rounding(widths * low), strict=True)
    )
    return ((sums + added) / divisor).floor()


def _block_sizes(axis: _Axis, blocks: Term) -> Term:
    """Return the number of pixels of each block along an axis."""
    return axis.factor.least((axis.end - axis.start) - blocks.numbers_below() * axis.factor)


def _rounding(counts: Term) -> tuple[Term, Term]:
    """Return what is added to a sum of pixels, and what it is then divided by before it is rounded down, float32."""
    exact = ((2.0**24 / counts).floor() * counts).equals(2.0**24)
    added = (counts / 2.0).floor() - counts.to.where(exact, 0.0, 0.5)
    return added.cast(np.float32), counts.cast(np.float32)


def _resampled(pixels: Term, axis: _Axis, channels: int, framing: Framing) -> Term:
    """Return pixels resampled along their second axis, C x pixels x N to C x size x N, float32.

    Each group of `GROUP` neighbouring pixels of the result reads a window of the image. All windows have the same size,
    so that one product of matrices computes all groups.
    """
    to = pixels.to
    places, weights = _weights(axis, framing)
    windows = pixels.apply("Gather", places, axis=1)
    sums = weights.matmul(windows)  # C x groups x 2 GROUP x N
    count, rest = to.constant([channels], np.int64), to.constant([-1], np.int64)
    others = pixels.apply("Shape", dtype=np.int64)[2]
    parts = sums.reshape(to.join([count, rest, to.constant([2, GROUP], np.int64), others]))
    found = _rounded(parts).reshape(to.join([count, rest, others]))
    return found.part(to.constant([0], np.int64), axis.size.cast(np.int64), [1])


def _weights(axis: _Axis, framing: Framing) -> tuple[Term, Term]:
    """Return what each group of pixels of the result along an axis reads, and with which weights.

    Returns:
        Numbers of pixels, `groups x window`, int64; weights, `groups x 2 GROUP x window`, float32: the upper bits for
        the pixels of a group, then the lower bits.
    """
    to = axis.low.to
    extent, low = (axis.high - axis.low).cast(np.float64), axis.low.cast(np.float64) - axis.shift
    scale, blocks = extent / axis.size, axis.blocks()
    wide = scale.largest(1.0)
    reach = wide * SUPPORT[framing.interpolation]
    # The last group may be longer than the result; its further pixels repeat the last one.
    groups = (axis.size / float(GROUP)).apply("Ceil")
    steps = (groups * float(GROUP)).numbers_below().least(axis.size - 1.0).reshape([-1, GROUP, 1]) + 0.5
    window = ((scale * (GROUP - 1.0) + reach * 2.0).apply("Ceil") + 3.0).least(blocks)
    middles = groups.numbers_below().reshape([-1, 1]) * float(GROUP) + 0.5
    starts = ((middles * scale + low - reach).floor() - 1.0).least(blocks - window).largest(0.0)
    places = starts + window.numbers_below().reshape([1, -1])
    # In OpenVINO, which computes in float32, products of the upper bits are exact and those of the lower bits small.
    upper, first = ((term * FINE).floor() / FINE for term in (scale, low))
    lower, rest = (extent - upper * axis.size) / axis.size, low - first
    pixels = places.reshape(to.join([to.constant([-1, 1], np.int64), window.cast(np.int64)])) + 0.5
    distance = (pixels - (steps * upper + first)) - (steps * lower + rest)
    weights = _filter((distance * (1.0 / wide)).abs(), framing.interpolation)
    weights = weights / weights.sum([2], keep=True)
    fixed = (weights.abs() * 2.0**BITS + 0.5).floor() * weights.apply("Sign")
    upper = (fixed / LOW).floor()
    return places.cast(np.int64), to.join([upper, fixed - upper * LOW], axis=1).cast(np.float32)


def _filter(distance: Term, interpolation: str) -> Term:
    """Return a filter's weights, as Pillow computes them, before they are normalised."""
    to = distance.to
    if interpolation == "bilinear":
        return (1.0 - distance).largest(0.0)
    near = (distance * 1.5 - 2.5) * distance * distance + 1.0
    far = (((distance - 5.0) * distance + 8.0) * distance - 4.0) * -0.5
    return to.where(distance < 1.0, near, to.where(distance < 2.0, far, 0.0))


def _rounded(sums: Term) -> Term:
    """Return the upper and the lower part of sums, along the third axis, as whole numbers from 0 to 255."""
    upper, lower = (sums.apply("Gather", sums.to.constant(half, np.int64), axis=2) for half in (0, 1))
    carried = ((lower + 2.0 ** (BITS - 1)) / LOW).floor()
    return ((upper + carried) / LOW).floor().clip(0.0, 255.0)


def _bordered(pixels: Term, inner: tuple[Term, Term], size: tuple[int, int]) -> Term:
    """Return pixels, C x H x W, in the middle of a larger image of grey value `FILL`."""
    to = pixels.to
    before, after = [], []
    for part, whole in zip(inner, size, strict=True):
        first = ((whole - part) / 2.0).floor()
        before.append(first.cast(np.int64))
        after.append((whole - part - first).cast(np.int64))
    zero = to.constant([0], np.int64)
    return pixels.padded(to.join([zero, *before, zero, *after]), float(FILL))
