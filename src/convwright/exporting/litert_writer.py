"""A program as a LiteRT model: NHWC feature maps, activations inside convolutions where LiteRT has them there."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from convwright.engines import program as steps
from convwright.engines.litert import LOGITS, PACKAGE, PIXELS
from convwright.extras import require_package

PURPOSE = "the format litert"
FILE_IDENTIFIER = b"TFL3"
SCHEMA_VERSION = 3
_LOWEST = float(np.finfo(np.float32).min)
_NOT_NEGATIVE = ("relu", "relu6", "sigmoid", "hardsigmoid")


def litert_model(program: steps.Program) -> Any:
    """Return a program as LiteRT's `ModelT`, from uint8 images, `N x H x W x C`, to logits, `N x classes`.

    Args:
        program: The program.

    Raises:
        UsageError: ai-edge-litert is not installed.
    """
    require_package(PACKAGE, PURPOSE)
    writer = _Writer(program)
    writer.run()
    return writer.model()


def litert_file(model: Any) -> bytes:
    """Return the content of a file with a model and without a card."""
    import flatbuffers

    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), FILE_IDENTIFIER)
    return bytes(builder.Output())


class _Writer:
    """Collects the tensors and operators of a program; tensors are named after the layers that return them."""

    def __init__(self, program: steps.Program) -> None:
        from ai_edge_litert import schema_py_generated as schema

        self.schema, self.program = schema, program
        self.buffers: list[Any] = [schema.BufferT()]  # LiteRT reserves the first one for tensors without content
        self.tensors: list[Any] = []
        self.operators: list[Any] = []
        self.codes: list[Any] = []
        self.found: dict[steps.Value, int] = {}
        """Tensor of each value, N x H x W x C."""
        self.rows: dict[steps.Value, int] = {}
        """Tensor of each value that a linear layer returned, N x C."""
        self.names: set[str] = set()
        self.makers, self.readers = program.makers(), program.readers()
        self.input = self.output = 0

    def run(self) -> None:
        """Write every operation, from the uint8 images to the logits."""
        channels, height, width = self.program.input_shape
        self.input = self.tensor(PIXELS, (height, width, channels), self.schema.TensorType.UINT8)
        self.found[0] = self.operator("CAST", [self.input], "normalisation.cast", (height, width, channels))
        done: set[steps.Value] = set()
        for op in self.program.ops:
            if op.output in done:
                continue
            if isinstance(op, steps.Convolve) and (fused := self._following(op)) is not None:
                _convolve(self, op, fused)
                done.add(fused.output)
            elif isinstance(op, steps.Convolve):
                _convolve(self, op, None)
            else:
                _WRITERS[type(op)](self, op)
        self.output = self.flat(self.program.output)
        self.tensors[self.output].name = LOGITS.encode()

    def _following(self, op: steps.Op) -> steps.Activate | None:
        """Return the activation that alone reads a result and that LiteRT computes inside of the operation."""
        readers = [other for other in self.program.ops if op.output in other.inputs]
        if self.readers[op.output] != 1 or not readers or not isinstance(readers[0], steps.Activate):
            return None
        return readers[0] if readers[0].function in ("relu", "relu6") else None

    def model(self) -> Any:
        """Return the whole model."""
        schema = self.schema
        graph = schema.SubGraphT(
            name=self.program.name.encode(),
            tensors=self.tensors,
            operators=self.operators,
            inputs=[self.input],
            outputs=[self.output],
        )
        signature = schema.SignatureDefT(
            signatureKey=b"serving_default",
            inputs=[schema.TensorMapT(name=PIXELS.encode(), tensorIndex=self.input)],
            outputs=[schema.TensorMapT(name=LOGITS.encode(), tensorIndex=self.output)],
        )
        return schema.ModelT(
            version=SCHEMA_VERSION,
            description=b"convwright",
            operatorCodes=self.codes,
            subgraphs=[graph],
            buffers=self.buffers,
            signatureDefs=[signature],
        )

    def tensor(self, name: str, shape: Sequence[int], kind: int, *, batch: bool = True, buffer: int = 0) -> int:
        """Add a tensor; return its number. With `batch` its first dimension is the number of images."""
        unique, count = name, 1
        while unique in self.names:
            unique, count = f"{name}_{count}", count + 1
        self.names.add(unique)
        whole = [1, *shape] if batch else [*shape]
        tensor = self.schema.TensorT(name=unique.encode(), shape=whole, type=kind, buffer=buffer)
        tensor.shapeSignature = [-1, *shape] if batch else None
        tensor.hasRank = True
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def constant(self, name: str, values: np.ndarray) -> int:
        """Add an array; return the number of its tensor."""
        kinds = {np.dtype(np.float32): self.schema.TensorType.FLOAT32, np.dtype(np.int32): self.schema.TensorType.INT32}
        values = np.ascontiguousarray(values)
        self.buffers.append(self.schema.BufferT(data=np.frombuffer(values.tobytes(), np.uint8)))
        return self.tensor(name, values.shape, kinds[values.dtype], batch=False, buffer=len(self.buffers) - 1)

    def floats(self, op: steps.Op, part: str, *shape: int) -> int:
        """Add an array of an operation."""
        values = getattr(op, part).astype(np.float32)
        return self.constant(f"{op.path}.{part}", values.reshape(shape) if shape else values)

    def operator(self, kind: str, inputs: list[int], name: str, shape: Sequence[int], options: Any = None) -> int:
        """Add an operator with one result in single precision; return its tensor."""
        result = self.tensor(name, shape, self.schema.TensorType.FLOAT32)
        operator = self.schema.OperatorT(opcodeIndex=self._code(kind), inputs=inputs, outputs=[result])
        if options is not None:
            operator.builtinOptions = options
            operator.builtinOptionsType = getattr(self.schema.BuiltinOptions, type(options).__name__[:-1])
        self.operators.append(operator)
        return result

    def _code(self, kind: str) -> int:
        number = getattr(self.schema.BuiltinOperator, kind)
        known = [code.builtinCode for code in self.codes]
        if number not in known:
            # Readers of old files know only the field that holds numbers up to 127.
            self.codes.append(
                self.schema.OperatorCodeT(builtinCode=number, deprecatedBuiltinCode=min(number, 127), version=1)
            )
        return known.index(number) if number in known else len(self.codes) - 1

    def size(self, value: steps.Value) -> tuple[int, int, int]:
        """Return height, width and channels of a value."""
        channels, height, width = self.program.shapes[value]
        return height, width, channels

    def maps(self, value: steps.Value) -> int:
        """Return the tensor of a value as N x H x W x C."""
        if value not in self.found:
            self.found[value] = self._reshaped(
                self.rows[value], (1, 1, self.size(value)[2]), self._reshaped_name(value, "maps")
            )
        return self.found[value]

    def flat(self, value: steps.Value) -> int:
        """Return the tensor of a value as N x (H * W * C)."""
        if value not in self.rows:
            self.rows[value] = self._reshaped(
                self.found[value], (int(np.prod(self.size(value))),), self._reshaped_name(value, "rows")
            )
        return self.rows[value]

    def _reshaped_name(self, value: steps.Value, kind: str) -> str:
        maker = self.makers.get(value)
        return f"{maker.path if maker else 'normalisation'}_{kind}"

    def _reshaped(self, tensor: int, shape: tuple[int, ...], name: str) -> int:
        to = self.constant(f"{name}_shape", np.array([-1, *shape], np.int32))
        return self.operator("RESHAPE", [tensor, to], name, shape, self.schema.ReshapeOptionsT(newShape=[-1, *shape]))

    def same_shape(self, kind: str, op: steps.Op, inputs: list[int], name: str = "", options: Any = None) -> int:
        """Add an operator whose result has the shape of the operation's."""
        return self.operator(kind, inputs, name or op.path, self.size(op.output), options)

    def padded(
        self,
        op: steps.Convolve | steps.Window,
        kernel: tuple[int, int],
        stride: tuple[int, int],
        value: float = 0.0,
        *,
        explicit: bool = False,
    ) -> tuple[int, int]:
        """Return the tensor that an operation with a window reads, and the padding that LiteRT adds to it.

        LiteRT pads by itself only where as much is added as its `SAME` stands for; other padding is an operator before.
        """
        dilation = op.dilation if isinstance(op, steps.Convolve) else 1
        sides, results = self.size(op.inputs[0]), self.size(op.output)
        if not any(op.pads):
            return self.maps(op.inputs[0]), self.schema.Padding.VALID
        same = []
        for side, result, extent, step in zip(sides[:2], results[:2], kernel, stride, strict=True):
            total = max((result - 1) * step + (extent - 1) * dilation + 1 - side, 0)
            same.append((total // 2, total - total // 2))
        top, left, bottom, right = op.pads
        fits = all(
            -(-side // step) == result for side, step, result in zip(sides[:2], stride, results[:2], strict=True)
        )
        if not explicit and fits and [(top, bottom), (left, right)] == same:
            return self.maps(op.inputs[0]), self.schema.Padding.SAME
        rows = self.constant(f"{op.path}.pads", np.array([(0, 0), (top, bottom), (left, right), (0, 0)], np.int32))
        shape = (sides[0] + top + bottom, sides[1] + left + right, sides[2])
        inputs = [self.maps(op.inputs[0]), rows]
        if value:
            inputs.append(self.constant(f"{op.path}.padding", np.array([value], np.float32)))
        options = self.schema.PadV2OptionsT() if value else self.schema.PadOptionsT()
        padded = self.operator("PADV2" if value else "PAD", inputs, f"{op.path}_padded", shape, options)
        return padded, self.schema.Padding.VALID


def _convolve(to: _Writer, op: steps.Convolve, fused: steps.Activate | None) -> None:
    schema = to.schema
    result = op if fused is None else fused
    functions = {"relu": schema.ActivationFunctionType.RELU, "relu6": schema.ActivationFunctionType.RELU6}
    height, width = op.weight.shape[2:]
    value, padding = to.padded(op, (height, width), op.stride)
    common = {
        "padding": padding,
        "strideH": op.stride[0],
        "strideW": op.stride[1],
        "dilationHFactor": op.dilation,
        "dilationWFactor": op.dilation,
        "fusedActivationFunction": functions[fused.function] if fused else schema.ActivationFunctionType.NONE,
    }
    channels = to.size(op.inputs[0])[2]
    options: Any
    if op.groups > 1 and op.groups == channels:
        kind, weight = "DEPTHWISE_CONV_2D", op.weight.transpose(1, 2, 3, 0)
        options = schema.DepthwiseConv2DOptionsT(depthMultiplier=op.weight.shape[0] // channels, **common)
    else:
        kind, weight = "CONV_2D", op.weight.transpose(0, 2, 3, 1)
        options = schema.Conv2DOptionsT(**common)
    inputs = [value, to.constant(f"{op.path}.weight", weight.astype(np.float32)), to.floats(op, "bias")]
    to.found[result.output] = to.same_shape(kind, op, inputs, options=options)


def _affine(to: _Writer, op: steps.Affine) -> None:
    scaled = to.same_shape(
        "MUL", op, [to.maps(op.inputs[0]), to.floats(op, "factor", -1)], f"{op.path}_scaled", to.schema.MulOptionsT()
    )
    to.found[op.output] = to.same_shape("ADD", op, [scaled, to.floats(op, "shift", -1)], "", to.schema.AddOptionsT())


def _activate(to: _Writer, op: steps.Activate) -> None:
    schema, value = to.schema, to.maps(op.inputs[0])
    match op.function:
        case "silu":
            gate = to.same_shape("LOGISTIC", op, [value], f"{op.path}_sigmoid")
            result = to.same_shape("MUL", op, [value, gate], "", schema.MulOptionsT())
        case "hardsigmoid":
            three, sixth = (
                to.constant(f"{op.path}.{name}", np.array([number], np.float32))
                for name, number in (("three", 3), ("sixth", 1 / 6))
            )
            options = schema.AddOptionsT(fusedActivationFunction=schema.ActivationFunctionType.RELU6)
            clipped = to.same_shape("ADD", op, [value, three], f"{op.path}_clipped", options)
            result = to.same_shape("MUL", op, [clipped, sixth], "", schema.MulOptionsT())
        case "gelu":
            result = to.same_shape("GELU", op, [value], "", schema.GeluOptionsT(approximate=False))
        case "hardswish":
            result = to.same_shape("HARD_SWISH", op, [value], "", schema.HardSwishOptionsT())
        case function:
            result = to.same_shape(_FUNCTIONS[function], op, [value])
    to.found[op.output] = result


_FUNCTIONS = {"relu": "RELU", "relu6": "RELU6", "sigmoid": "LOGISTIC", "tanh": "TANH"}


def _clamp(to: _Writer, op: steps.Clamp) -> None:
    options = to.schema.MaximumMinimumOptionsT
    value = to.same_shape("MAXIMUM", op, [to.maps(op.inputs[0]), to.floats(op, "low", -1)], f"{op.path}_low", options())
    if not np.all(np.isinf(op.high)):
        value = to.same_shape("MINIMUM", op, [value, to.floats(op, "high", -1)], "", options())
    to.found[op.output] = value


def _window(to: _Writer, op: steps.Window) -> None:
    schema, kernel, stride = to.schema, (op.kernel, op.kernel), (op.stride, op.stride)
    maker = to.makers.get(op.inputs[0])
    positive = isinstance(maker, steps.Activate) and maker.function in _NOT_NEGATIVE
    maximum = op.function == "max"
    # LiteRT's own padding leaves zeros out of a mean.
    explicit = not maximum and op.counted
    value, padding = to.padded(op, kernel, stride, _LOWEST if maximum and not positive else 0.0, explicit=explicit)
    options = schema.Pool2DOptionsT(
        padding=padding, strideH=op.stride, strideW=op.stride, filterHeight=op.kernel, filterWidth=op.kernel
    )
    corrected = not maximum and not op.counted and any(op.pads) and padding == schema.Padding.VALID
    kind, name = "MAX_POOL_2D" if maximum else "AVERAGE_POOL_2D", f"{op.path}_zeros" if corrected else op.path
    result = to.same_shape(kind, op, [value], name, options)
    if corrected:
        shares = to.constant(f"{op.path}.shares", _inverse_shares(op, to.size(op.inputs[0])[:2]))
        result = to.same_shape("MUL", op, [result, shares], "", schema.MulOptionsT())
    to.found[op.output] = result


def _inverse_shares(op: steps.Window, sides: tuple[int, int]) -> np.ndarray:
    """Return window size by pixels of the image in each window, 1 x H x W x 1."""
    top, left, bottom, right = op.pads
    counts = []
    for side, before, after in zip(sides, (top, left), (bottom, right), strict=True):
        inside = np.pad(np.ones(side), (before, after))
        windows = np.lib.stride_tricks.sliding_window_view(inside, op.kernel)[:: op.stride]
        counts.append(op.kernel / windows.sum(1))
    return np.asarray(np.outer(*counts), np.float32)[None, :, :, None]


def _mean(to: _Writer, op: steps.Mean) -> None:
    axes = to.constant(f"{op.path}.axes", np.array([1, 2], np.int32))
    options = to.schema.ReducerOptionsT(keepDims=True)
    to.found[op.output] = to.same_shape("MEAN", op, [to.maps(op.inputs[0]), axes], options=options)


def _connect(to: _Writer, op: steps.Connect) -> None:
    height, width, channels = to.size(op.inputs[0])
    weight = op.weight.reshape(-1, channels, height, width).transpose(0, 2, 3, 1).reshape(len(op.weight), -1)
    inputs = [to.flat(op.inputs[0]), to.constant(f"{op.path}.weight", weight.astype(np.float32)), to.floats(op, "bias")]
    options = to.schema.FullyConnectedOptionsT()
    to.rows[op.output] = to.operator("FULLY_CONNECTED", inputs, op.path, (len(op.weight),), options)


def _sum(to: _Writer, op: steps.Sum) -> None:
    result, *others = (to.maps(value) for value in op.inputs)
    for other in others:
        result = to.same_shape("ADD", op, [result, other], "", to.schema.AddOptionsT())
    to.found[op.output] = result


def _join(to: _Writer, op: steps.Join) -> None:
    inputs = [to.maps(value) for value in op.inputs]
    to.found[op.output] = to.same_shape("CONCATENATION", op, inputs, "", to.schema.ConcatenationOptionsT(axis=3))


def _multiply(to: _Writer, op: steps.Multiply) -> None:
    inputs = [to.maps(value) for value in op.inputs]
    to.found[op.output] = to.same_shape("MUL", op, inputs, "", to.schema.MulOptionsT())


def _add_channels(to: _Writer, op: steps.AddChannels) -> None:
    pads = to.constant(f"{op.path}.pads", np.array([(0, 0), (0, 0), (0, 0), (0, op.extra)], np.int32))
    to.found[op.output] = to.same_shape("PAD", op, [to.maps(op.inputs[0]), pads], "", to.schema.PadOptionsT())


_WRITERS: dict[type[steps.Op], Callable[[_Writer, Any], None]] = {
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
