"""A program as a Core ML model in MIL, the intermediate language of coremltools, operation by operation."""

from collections.abc import Callable
from typing import Any

import numpy as np

from convwright.engines import program as steps
from convwright.exporting.quiet import quiet
from convwright.extras import require_package

PACKAGE = "coremltools"
PURPOSE = "the format coreml"
PIXELS, LOGITS = "images", "logits"
"""Names of the input and the output."""
COLORS = {1: "GRAYSCALE", 3: "RGB"}
"""Name in coremltools of the colour layout of an image, by its channels; other inputs are arrays."""


def coreml_model(program: steps.Program) -> Any:
    """Return a program as coremltools' `MLModel`, from one image to logits, `1 x classes`, all in float32.

    The input is an image of 8 bits, or an array, `1 x C x H x W`, float32 with values 0 to 255, where the network has
    neither one channel nor three.

    Args:
        program: The program.

    Raises:
        UsageError: coremltools is not installed.
    """
    tools = load_tools()
    with quiet():
        from coremltools.converters import mil

        builder: Any = mil.Builder
        shape = (1, *program.input_shape)

        def written(images: Any) -> Any:  # the input has the name of this argument
            return _Writer(builder, program, images).run()

        ports = [builder.TensorSpec(shape=shape)]
        function = builder.program(input_specs=ports, opset_version=tools.target.iOS15)(written)
        layout = COLORS.get(program.input_shape[0])
        colors = {"color_layout": getattr(tools.colorlayout, layout)} if layout else {}
        kind = tools.ImageType if layout else tools.TensorType
        return tools.convert(
            function,
            convert_to="mlprogram",
            inputs=[kind(name=PIXELS, shape=shape, **colors)],
            minimum_deployment_target=tools.target.iOS15,
            compute_precision=tools.precision.FLOAT32,
            pass_pipeline=tools.PassPipeline.EMPTY,
            skip_model_load=True,
        )


def load_tools() -> Any:
    """Return coremltools.

    Raises:
        UsageError: It is not installed.
    """
    with quiet():  # it reports versions of other packages that it was not tested with, and parts that only macOS has
        return require_package(PACKAGE, PURPOSE)


class _Writer:
    """Adds the operations of a program to a MIL function; they are named after the layers."""

    def __init__(self, builder: Any, program: steps.Program, images: Any) -> None:
        self.mil, self.program = builder, program
        self.found: dict[steps.Value, Any] = {0: images}

    def run(self) -> Any:
        """Write every operation; return the logits."""
        for op in self.program.ops:
            self.found[op.output] = _WRITERS[type(op)](self, op)
        return self.mil.reshape(x=self.found[self.program.output], shape=[1, self.program.classes], name=LOGITS)

    def maps(self, op: steps.Op) -> list[Any]:
        """Return the inputs of an operation, 1 x C x H x W."""
        return [self.found[value] for value in op.inputs]


def _channels(values: np.ndarray) -> np.ndarray:
    """Return one number for each channel, 1 x C x 1 x 1."""
    return np.asarray(values, np.float32).reshape(1, -1, 1, 1)


def _pads(pads: steps.Pads) -> list[int]:
    """Return padding in MIL's order: above, below, left, right."""
    top, left, bottom, right = pads
    return [top, bottom, left, right]


def _convolve(to: _Writer, op: steps.Convolve) -> Any:
    return to.mil.conv(
        x=to.maps(op)[0],
        weight=op.weight.astype(np.float32),
        bias=op.bias.astype(np.float32),
        strides=list(op.stride),
        pad_type="custom",
        pad=_pads(op.pads),
        dilations=[op.dilation, op.dilation],
        groups=op.groups,
        name=op.path,
    )


def _affine(to: _Writer, op: steps.Affine) -> Any:
    scaled = to.mil.mul(x=to.maps(op)[0], y=_channels(op.factor), name=f"{op.path}_scaled")
    return to.mil.add(x=scaled, y=_channels(op.shift), name=op.path)


def _activate(to: _Writer, op: steps.Activate) -> Any:
    (value,) = to.maps(op)
    match op.function:
        case "hardsigmoid":
            return to.mil.sigmoid_hard(x=value, alpha=1 / 6, beta=0.5, name=op.path)
        case "hardswish":
            gate = to.mil.sigmoid_hard(x=value, alpha=1 / 6, beta=0.5, name=f"{op.path}_gate")
            return to.mil.mul(x=value, y=gate, name=op.path)
        case "gelu":
            return to.mil.gelu(x=value, mode="EXACT", name=op.path)
        case function:  # relu, relu6, silu, sigmoid, tanh: MIL has the same names
            return getattr(to.mil, function)(x=value, name=op.path)


def _clamp(to: _Writer, op: steps.Clamp) -> Any:
    limited = not np.all(np.isinf(op.high))
    low = to.mil.maximum(x=to.maps(op)[0], y=_channels(op.low), name=f"{op.path}_low" if limited else op.path)
    return to.mil.minimum(x=low, y=_channels(op.high), name=op.path) if limited else low


def _window(to: _Writer, op: steps.Window) -> Any:
    options = {
        "x": to.maps(op)[0],
        "kernel_sizes": [op.kernel, op.kernel],
        "strides": [op.stride, op.stride],
        "pad_type": "custom",
        "pad": _pads(op.pads),
        "name": op.path,
    }
    if op.function == "max":
        return to.mil.max_pool(**options)
    return to.mil.avg_pool(exclude_padding_from_average=not op.counted, **options)


def _mean(to: _Writer, op: steps.Mean) -> Any:
    return to.mil.reduce_mean(x=to.maps(op)[0], axes=[2, 3], keep_dims=True, name=op.path)


def _connect(to: _Writer, op: steps.Connect) -> Any:
    rows = to.mil.reshape(x=to.maps(op)[0], shape=[1, op.weight.shape[1]], name=f"{op.path}_rows")
    weight, bias = op.weight.astype(np.float32), op.bias.astype(np.float32)
    found = to.mil.linear(x=rows, weight=weight, bias=bias, name=f"{op.path}_linear")
    return to.mil.reshape(x=found, shape=[1, len(op.weight), 1, 1], name=op.path)


def _sum(to: _Writer, op: steps.Sum) -> Any:
    result, *others = to.maps(op)
    for index, other in enumerate(others, 1):
        result = to.mil.add(x=result, y=other, name=op.path if index == len(others) else f"{op.path}_{index}")
    return result


def _join(to: _Writer, op: steps.Join) -> Any:
    return to.mil.concat(values=to.maps(op), axis=1, name=op.path)


def _multiply(to: _Writer, op: steps.Multiply) -> Any:
    first, second = to.maps(op)
    return to.mil.mul(x=first, y=second, name=op.path)


def _add_channels(to: _Writer, op: steps.AddChannels) -> Any:
    _, height, width = to.program.shapes[op.inputs[0]]
    zeros = np.zeros((1, op.extra, height, width), np.float32)
    return to.mil.concat(values=[*to.maps(op), zeros], axis=1, name=op.path)


_WRITERS: dict[type[steps.Op], Callable[[_Writer, Any], Any]] = {
    steps.Convolve: _convolve,
    steps.Affine: _affine,
    steps.Activate: _activate,
    steps.Clamp: _clamp,
    steps.Window: _window,
    steps.Mean: _mean,
    steps.Connect: _connect,
    steps.Sum: _sum,
    steps.Join: _join,
    steps.Multiply: _multiply,
    steps.AddChannels: _add_channels,
}
