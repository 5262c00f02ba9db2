"""From a network and its weights to a program: an interpreter of the layer graph, like `build`."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from convwright.arch import layers as graph
from convwright.arch.network import Network
from convwright.arch.resolution import sides
from convwright.arch.shapes import Shape, conv_padding, conv_shape, pair, pool_shape
from convwright.engines.program import (
    Activate,
    AddChannels,
    Affine,
    Connect,
    Convolve,
    Join,
    Mean,
    Multiply,
    Op,
    Pads,
    Program,
    Sum,
    Value,
    Window,
)
from convwright.errors import NetworkError

Weights = Mapping[str, np.ndarray]


def lower(network: Network, weights: Weights, mean: Sequence[float], std: Sequence[float]) -> Program:
    """Return the operations of a network on uint8 images, `N x C x H x W`, at its own resolution.

    Args:
        network: The network.
        weights: Arrays by name, as in the built module.
        mean: Mean of each channel on the scale 0 to 1, as in training.
        std: Standard deviation of each channel on the scale 0 to 1, as in training.

    Raises:
        NetworkError: A layer has no counterpart in exported files.
    """
    lowering = _Lowering(weights, network.classes, (network.channels, *sides(network.resolution)))
    centre, spread = np.asarray(mean, np.float64) * 255, np.asarray(std, np.float64) * 255
    value = lowering.normalise(centre, spread)
    for _, path, block in network.blocks():
        try:
            value = lowering.visit(block.layers(lowering.shapes[value][0]), value, path)
        except NetworkError as error:
            raise NetworkError(f"{network.name}: at {path}: {error}") from None
    return Program(network.name, tuple(lowering.ops), lowering.shapes, value)


class _Lowering:
    def __init__(self, weights: Weights, classes: int, shape: Shape) -> None:
        self.weights, self.classes = weights, classes
        self.shapes: dict[Value, Shape] = {0: shape}
        self.ops: list[Op] = []

    def normalise(self, centre: np.ndarray, spread: np.ndarray) -> Value:
        """Add the normalisation of images in two steps, of which the second folds into the first convolution.

        The first step cannot fold: zero padding stands for the mean, so it must follow the subtraction of the mean.
        """
        shape = self.shapes[0]
        centred = self.add(Affine, "normalisation", (0,), shape, factor=np.ones_like(centre), shift=-centre)
        return self.add(Affine, "normalisation", (centred,), shape, factor=1 / spread, shift=np.zeros_like(centre))

    def visit(self, layer: graph.Layer, value: Value, path: str) -> Value:
        """Add the operations of a layer; return the number of its result."""
        match layer:
            case graph.Seq():
                return self._sequence(layer, value, path)
            case graph.Gate():
                factors = self._sequence(layer, value, path)
                return self.add(Multiply, path, (value, factors), self.shapes[value])
            case graph.Add():
                parts = self._branches(layer, value, path)
                return self.add(Sum, path, parts, self.shapes[parts[0]])
            case graph.Concat():
                parts = self._branches(layer, value, path)
                channels = sum(self.shapes[part][0] for part in parts)
                return self.add(Join, path, parts, (channels, *self.shapes[parts[0]][1:]))
        return _PRIMITIVES[type(layer)](self, layer, value, path)

    def add(self, kind: type[Op], path: str, inputs: Sequence[Value], shape: Shape, **fields: Any) -> Value:
        """Add an operation; return the number of its result."""
        output = len(self.shapes)
        self.shapes[output] = shape
        self.ops.append(kind(path, tuple(inputs), output, **fields))
        return output

    def weight(self, path: str, part: str) -> np.ndarray:
        """Return an array of a layer in double precision, in which folding is exact enough."""
        return np.asarray(self.weights[f"{path}.{part}"], np.float64)

    def bias(self, path: str, layer: graph.Conv | graph.Linear, out: int) -> np.ndarray:
        """Return a layer's bias, or zeros."""
        return self.weight(path, "bias") if layer.bias else np.zeros(out)

    def _sequence(self, layer: graph.Combinator, value: Value, path: str) -> Value:
        for name, part in zip(layer.names, layer.parts, strict=True):
            value = self.visit(part, value, f"{path}.{name}")
        return value

    def _branches(self, layer: graph.Combinator, value: Value, path: str) -> tuple[Value, ...]:
        named = zip(layer.names, layer.parts, strict=True)
        return tuple(self.visit(part, value, f"{path}.{name}") for name, part in named)


def _conv(to: _Lowering, conv: graph.Conv, value: Value, path: str) -> Value:
    shape = to.shapes[value]
    output = conv_shape(conv, shape)
    return to.add(
        Convolve,
        path,
        (value,),
        output,
        weight=to.weight(path, "weight"),
        bias=to.bias(path, conv, conv.out),
        stride=pair(conv.stride),
        pads=_conv_pads(conv, shape, output),
        dilation=conv.dilation,
        groups=conv.groups,
    )


def _conv_pads(conv: graph.Conv, shape: Shape, output: Shape) -> Pads:
    if not conv.same:
        height, width = conv_padding(conv)
        return height, width, height, width
    sizes = zip(shape[1:], output[1:], pair(conv.kernel), pair(conv.stride), strict=True)
    height, width = (
        max(0, (out - 1) * stride + (kernel - 1) * conv.dilation + 1 - size) for size, out, kernel, stride in sizes
    )
    return height // 2, width // 2, height - height // 2, width - width // 2


def _norm(to: _Lowering, norm: graph.Norm, value: Value, path: str) -> Value:
    factor = to.weight(path, "weight") / np.sqrt(to.weight(path, "running_var") + norm.eps)
    shift = to.weight(path, "bias") - to.weight(path, "running_mean") * factor
    return to.add(Affine, path, (value,), to.shapes[value], factor=factor, shift=shift)


def _pool(to: _Lowering, pool: graph.Pool, value: Value, path: str) -> Value:
    shape = to.shapes[value]
    output = pool_shape(pool, shape)
    # Windows that hang over the edge (ceil) become padding: engines treat such windows differently.
    ends = [
        max(pool.padding, (out - 1) * pool.stride + pool.kernel - size - pool.padding)
        for size, out in zip(shape[1:], output[1:], strict=True)
    ]
    counted = pool.include_pad and pool.padding > 0
    if pool.function == "avg" and counted and max(ends) > pool.padding:
        raise NetworkError(f"{path}: {pool!r} counts padding in windows that hang over the edge; no engine does so")
    pads = (pool.padding, pool.padding, *ends)
    fields = {"function": pool.function, "kernel": pool.kernel, "stride": pool.stride, "pads": pads}
    return to.add(Window, path, (value,), output, counted=counted, **fields)


def _global_pool(to: _Lowering, pool: graph.GlobalPool, value: Value, path: str) -> Value:
    channels, height, width = to.shapes[value]
    if pool.size == 1:
        return to.add(Mean, path, (value,), (channels, 1, 1))
    if (height, width) == (pool.size, pool.size):
        return value
    if height != width or height % pool.size:
        raise NetworkError(f"{path}: no engine pools a map of {height} x {width} to {pool.size} x {pool.size}")
    side = height // pool.size
    fields = {"function": "avg", "kernel": side, "stride": side, "pads": (0, 0, 0, 0), "counted": False}
    return to.add(Window, path, (value,), (channels, pool.size, pool.size), **fields)


def _linear(to: _Lowering, linear: graph.Linear, value: Value, path: str) -> Value:
    weight = to.weight(path, "weight")
    out = len(weight)
    return to.add(Connect, path, (value,), (out, 1, 1), weight=weight, bias=to.bias(path, linear, out))


def _scale(to: _Lowering, scale: graph.Scale, value: Value, path: str) -> Value:
    channels = to.shapes[value][0]
    fields = {"factor": np.full(channels, scale.factor), "shift": np.zeros(channels)}
    return to.add(Affine, path, (value,), to.shapes[value], **fields)


def _act(to: _Lowering, act: graph.Act, value: Value, path: str) -> Value:
    return to.add(Activate, path, (value,), to.shapes[value], function=act.function)


def _pad(to: _Lowering, pad: graph.PadChannels, value: Value, path: str) -> Value:
    channels, height, width = to.shapes[value]
    if pad.out == channels:
        return value
    return to.add(AddChannels, path, (value,), (pad.out, height, width), extra=pad.out - channels)


_PRIMITIVES: dict[type[graph.Layer], Callable[[_Lowering, Any, Value, str], Value]] = {
    graph.Conv: _conv,
    graph.Norm: _norm,
    graph.Act: _act,
    graph.Pool: _pool,
    graph.GlobalPool: _global_pool,
    graph.Linear: _linear,
    graph.Scale: _scale,
    graph.PadChannels: _pad,
    graph.Dropout: lambda _, __, value, ___: value,
    graph.Identity: lambda _, __, value, ___: value,
}
