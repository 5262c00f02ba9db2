"""A program as an ONNX model: a node for each operation, the weights inside, the card in the metadata."""

from collections.abc import Callable
from typing import Any

import numpy as np

from convwright.engines import program as steps
from convwright.engines.card import KEY, Card
from convwright.engines.parts import LOGITS, PIXELS
from convwright.errors import ArgumentError
from convwright.extras import require_package

INPUT, OUTPUT = PIXELS, LOGITS
OPSET, OLDEST, NEWEST = 17, 13, 22
IR_VERSION = 8
"""Version of the oldest runtimes that support the opset; newer ones read it too."""


def onnx_model(program: steps.Program, card: Card, opset: int = OPSET) -> Any:
    """Return a program as an ONNX ModelProto from uint8 images, `N x C x H x W` for any N, to logits, `N x classes`.

    Args:
        program: The program.
        card: Card for the metadata.
        opset: ONNX opset.

    Raises:
        ArgumentError: The opset is too old or too new.
    """
    check_opset(opset)
    onnx = require_package("onnx", "writing ONNX files")
    writer = _Writer(program, opset)
    batch = [onnx.helper.make_tensor_value_info(INPUT, onnx.TensorProto.UINT8, ["batch", *program.input_shape])]
    logits = [onnx.helper.make_tensor_value_info(OUTPUT, onnx.TensorProto.FLOAT, ["batch", program.classes])]
    writer.run()
    graph = onnx.helper.make_graph(writer.nodes, program.name, batch, logits, writer.constants)
    model = onnx.helper.make_model(
        graph,
        producer_name="convwright",
        opset_imports=[onnx.helper.make_opsetid("", opset)],
        ir_version=IR_VERSION if opset < 19 else 10,
    )
    put_card(model, card)
    onnx.checker.check_model(model)
    return model


def check_opset(opset: int) -> None:
    """Check an opset.

    Raises:
        ArgumentError: The opset is too old or too new.
    """
    if not OLDEST <= opset <= NEWEST:
        raise ArgumentError("opset", f"must be {OLDEST} to {NEWEST}, not {opset}")


def put_card(model: Any, card: Card) -> None:
    """Replace the card in a model's metadata."""
    del model.metadata_props[:]
    model.metadata_props.add(key=KEY, value=card.to_json_text())


class _Writer:
    def __init__(self, program: steps.Program, opset: int) -> None:
        import onnx

        self.program, self.opset, self.onnx = program, opset, onnx
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.flat: set[steps.Value] = set()
        """Values of shape N x C, as linear layers have them, instead of N x C x 1 x 1."""
        self.used: set[str] = set()

    def run(self) -> None:
        """Write every operation, from the uint8 images to the logits."""
        self.node("Cast", [INPUT], self.name(0), "cast", to=self.onnx.TensorProto.FLOAT)
        for op in self.program.ops:
            _WRITERS[type(op)](self, op, self.name(op.output))
        last = self.name(self.program.output)
        self.node("Identity" if self.program.output in self.flat else "Flatten", [last], OUTPUT, "logits")

    def name(self, value: steps.Value) -> str:
        """Return the name of a value."""
        return f"v{value}"

    def maps(self, value: steps.Value) -> str:
        """Return the name of a value as N x C x H x W."""
        if value not in self.flat:
            return self.name(value)
        axes = self.constant("axes", np.array([2, 3], np.int64))
        return self.node("Unsqueeze", [self.name(value), axes], f"{self.name(value)}_maps", f"unsqueeze_{value}")

    def node(self, kind: str, inputs: list[str], output: str, label: str, **attributes: Any) -> str:
        """Add a node, named after its layer; return its output."""
        label = label if label not in self.used else f"{label}_{output}"
        self.used.add(label)
        self.nodes.append(self.onnx.helper.make_node(kind, inputs, [output], name=label, **attributes))
        return output

    def constant(self, name: str, values: np.ndarray) -> str:
        """Add an array to the model unless its name is there already; return its name."""
        if name not in self.used:
            self.used.add(name)
            self.constants.append(self.onnx.numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def floats(self, op: steps.Op, part: str, *shape: int) -> str:
        """Add an array of an operation in single precision; return its name."""
        values: np.ndarray = getattr(op, part)
        values = values.astype(np.float32)
        return self.constant(f"{op.path}.{part}_{op.output}", values.reshape(shape) if shape else values)


def _convolve(to: _Writer, op: steps.Convolve, out: str) -> None:
    to.node(
        "Conv",
        [to.maps(op.inputs[0]), to.floats(op, "weight"), to.floats(op, "bias")],
        out,
        op.path,
        kernel_shape=op.weight.shape[2:],
        strides=op.stride,
        pads=op.pads,
        dilations=[op.dilation] * 2,
        group=op.groups,
    )


def _affine(to: _Writer, op: steps.Affine, out: str) -> None:
    value = to.maps(op.inputs[0])
    if np.any(op.factor != 1):
        value = to.node("Mul", [value, to.floats(op, "factor", -1, 1, 1)], f"{out}_scaled", f"{op.path}_scale")
    to.node("Add", [value, to.floats(op, "shift", -1, 1, 1)], out, op.path)


def _activate(to: _Writer, op: steps.Activate, out: str) -> None:
    value = to.name(op.inputs[0])
    if op.inputs[0] in to.flat:
        to.flat.add(op.output)
    match op.function:
        case "silu":
            gate = to.node("Sigmoid", [value], f"{out}_gate", f"{op.path}_sigmoid")
            to.node("Mul", [value, gate], out, op.path)
        case "relu6":
            bounds = [to.constant(name, np.array(bound, np.float32)) for name, bound in (("zero", 0), ("six", 6))]
            to.node("Clip", [value, *bounds], out, op.path)
        case "hardsigmoid":
            to.node("HardSigmoid", [value], out, op.path, alpha=1 / 6, beta=0.5)
        case "hardswish" if to.opset < 14:
            gate = to.node("HardSigmoid", [value], f"{out}_gate", f"{op.path}_gate", alpha=1 / 6, beta=0.5)
            to.node("Mul", [value, gate], out, op.path)
        case "gelu" if to.opset < 20:
            _gelu(to, op, value, out)
        case function:
            to.node(_FUNCTIONS[function], [value], out, op.path)


_FUNCTIONS = {"relu": "Relu", "sigmoid": "Sigmoid", "tanh": "Tanh", "hardswish": "HardSwish", "gelu": "Gelu"}


def _gelu(to: _Writer, op: steps.Activate, value: str, out: str) -> None:
    """Write x / 2 * (1 + erf(x / sqrt 2)), for opsets without a node for it."""
    root, one, half = (
        to.constant(name, np.array(number, np.float32))
        for name, number in (("root_half", 0.5**0.5), ("one", 1), ("half", 0.5))
    )
    scaled = to.node("Mul", [value, root], f"{out}_scaled", f"{op.path}_scaled")
    erf = to.node("Erf", [scaled], f"{out}_erf", f"{op.path}_erf")
    raised = to.node("Add", [erf, one], f"{out}_raised", f"{op.path}_raised")
    product = to.node("Mul", [value, raised], f"{out}_product", f"{op.path}_product")
    to.node("Mul", [product, half], out, op.path)


def _clamp(to: _Writer, op: steps.Clamp, out: str) -> None:
    value, bounded = to.maps(op.inputs[0]), bool(np.all(np.isinf(op.high)))
    value = to.node("Max", [value, to.floats(op, "low", -1, 1, 1)], out if bounded else f"{out}_low", f"{op.path}_low")
    if not bounded:
        to.node("Min", [value, to.floats(op, "high", -1, 1, 1)], out, f"{op.path}_high")


def _window(to: _Writer, op: steps.Window, out: str) -> None:
    kind = "MaxPool" if op.function == "max" else "AveragePool"
    extra = {} if op.function == "max" else {"count_include_pad": int(op.counted)}
    how = {"kernel_shape": [op.kernel] * 2, "strides": [op.stride] * 2, "pads": op.pads}
    to.node(kind, [to.maps(op.inputs[0])], out, op.path, **how, **extra)


def _connect(to: _Writer, op: steps.Connect, out: str) -> None:
    (read,) = op.inputs
    rows = to.name(read) if read in to.flat else to.node("Flatten", [to.name(read)], f"{out}_rows", f"{op.path}_rows")
    to.node("Gemm", [rows, to.floats(op, "weight"), to.floats(op, "bias")], out, op.path, transB=1)
    to.flat.add(op.output)


def _sum(to: _Writer, op: steps.Sum, out: str) -> None:
    first, *others = (to.maps(value) for value in op.inputs)
    for index, value in enumerate(others, 1):
        last = index == len(others)
        first = to.node("Add", [first, value], out if last else f"{out}_{index}", op.path)


def _add_channels(to: _Writer, op: steps.AddChannels, out: str) -> None:
    pads = to.constant(f"{op.path}.pads_{op.output}", np.array([0, 0, 0, 0, 0, op.extra, 0, 0], np.int64))
    to.node("Pad", [to.maps(op.inputs[0]), pads], out, op.path)


_WRITERS: dict[type[steps.Op], Callable[[_Writer, Any, str], object]] = {
    steps.Convolve: _convolve,
    steps.Affine: _affine,
    steps.Activate: _activate,
    steps.Clamp: _clamp,
    steps.Window: _window,
    steps.Connect: _connect,
    steps.Sum: _sum,
    steps.AddChannels: _add_channels,
    steps.Mean: lambda to, op, out: to.node("GlobalAveragePool", [to.maps(op.inputs[0])], out, op.path),
    steps.Join: lambda to, op, out: to.node("Concat", [to.maps(value) for value in op.inputs], out, op.path, axis=1),
    steps.Multiply: lambda to, op, out: to.node("Mul", [to.maps(value) for value in op.inputs], out, op.path),
}
