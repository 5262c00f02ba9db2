"""Parts joined to a network, before its input and after its output, in ONNX and in OpenVINO.

They are joined after quantization, which therefore leaves them in float.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from convwright.engines.parts import IMAGE, LOGITS, PIXELS
from convwright.exporting.onnx_terms import Formulas
from convwright.exporting.onnx_writer import IR_VERSION, OPSET
from convwright.extras import require_package

Size = int | str
Port = tuple[str, Any, tuple[Size, ...]]
"""Name, type of the numbers and shape of an input or output."""


@dataclass(frozen=True)
class After:
    """Nodes after a network, which read its logits."""

    formulas: Formulas
    outputs: Sequence[Port]
    features: str = ""
    """Name that the nodes use for features of the network; empty if they read none."""
    feature_shape: tuple[Size, ...] = ()
    """Shape of the features."""
    pooling: str = ""
    """Name of the operation whose input are the features; empty for the last linear layer."""
    defaults: dict[str, int] = field(default_factory=dict)
    """Inputs of one whole number, with the value that they have where none is given."""


def join_onnx(model: Any, before: Formulas | None, after: Sequence[After]) -> Any:
    """Return an ONNX model with further parts.

    Args:
        model: The network, from `PIXELS` to `LOGITS`.
        before: Nodes from `IMAGE` to `PIXELS`; None: the input stays a tensor.
        after: Parts after the network.
    """
    onnx = require_package("onnx", "writing ONNX files")
    joined = onnx.ModelProto()
    joined.CopyFrom(model)
    graph, made = joined.graph, list(joined.graph.node)
    del graph.node[:]
    if before is not None:
        graph.node.extend(before.nodes)
        graph.initializer.extend(before.constants)
        del graph.input[:]
        graph.input.append(_info(onnx, _IMAGE))
        graph.output[0].type.tensor_type.shape.dim[0].dim_value = 1
    graph.node.extend(made)
    for part in after:
        if part.features:
            read = _input_of_linear(made) if not part.pooling else _input_of(made, part.pooling)
            graph.node.append(onnx.helper.make_node("Identity", [read], [part.features], name=f"{part.features}_read"))
        graph.node.extend(part.formulas.nodes)
        graph.initializer.extend(part.formulas.constants)
        for name, value in part.defaults.items():
            graph.input.append(_info(onnx, (name, np.int64, (1,))))
            graph.initializer.append(onnx.numpy_helper.from_array(np.array([value], np.int64), name))
        graph.output.extend(_info(onnx, (name, kind, _batch(before, shape))) for name, kind, shape in part.outputs)
    onnx.checker.check_model(joined)
    return joined


def join_openvino(model: Any, before: Formulas | None, after: Sequence[After]) -> Any:
    """Return an OpenVINO model with further parts; see `join_onnx`."""
    openvino = require_package("openvino", "the format openvino")
    joined = model.clone()
    pixels, logits = joined.input(0), joined.output(0).get_node().input_value(0)
    shape = tuple(size.get_length() for size in list(pixels.get_partial_shape())[1:])
    inputs, results = list(joined.get_parameters()), list(joined.get_results())
    for part in after:
        added = _read(openvino, _model_of(part, logits))
        sources = {LOGITS: logits}
        if part.features:
            sources[part.features] = _source_of(joined, part, logits)
        for parameter in added.get_parameters():
            name = parameter.output(0).get_any_name()
            if name in sources:
                _replace(parameter.output(0), sources[name])
            else:
                inputs.append(parameter)
        results += added.get_results()
    if before is not None:
        ports = [_IMAGE], [(PIXELS, np.uint8, (1, *shape))]
        prepared = _read(openvino, (before, *ports))
        _replace(pixels, prepared.output(PIXELS).get_node().input_value(0))
        inputs = [*prepared.get_parameters(), *inputs[1:]]
    logits.get_tensor().add_names({LOGITS})
    return openvino.Model(results, inputs, joined.get_friendly_name())


def _input_of(nodes: Sequence[Any], name: str) -> str:
    """Return the first input of the ONNX node of a name."""
    (found,) = (node.input[0] for node in nodes if node.name == name)
    return str(found)


def _input_of_linear(nodes: Sequence[Any]) -> str:
    """Return what the linear layer that ends an ONNX network reads."""
    makers = {node.output[0]: node for node in nodes}
    node = makers[LOGITS]
    while node.op_type != "Gemm":  # what follows it are reshapes, and in 8 bits roundings
        node = makers[node.input[0]]
    return str(node.input[0])


def _source_of(model: Any, part: After, logits: Any) -> Any:
    """Return the output of an OpenVINO operation that a part reads as its features."""
    if part.pooling:
        (op,) = (op for op in model.get_ordered_ops() if op.get_friendly_name() == part.pooling)
    else:
        op = logits.get_node()
        while op.get_type_name() != "MatMul":
            op = op.input_value(0).get_node()
    return op.input_value(0)


_IMAGE: Port = (IMAGE, np.uint8, (1, "height", "width", 3))


def _model_of(part: After, logits: Any) -> tuple[Formulas, list[Port], list[Port]]:
    """Return a part, its inputs and its outputs."""
    classes = list(logits.get_partial_shape())[1].get_length()
    inputs: list[Port] = [(LOGITS, np.float32, ("batch", classes))]
    if part.features:
        inputs.append((part.features, np.float32, part.feature_shape))
    inputs += [(name, np.int64, (1,)) for name in part.defaults]
    return part.formulas, inputs, list(part.outputs)


def _read(openvino: Any, part: tuple[Formulas, Sequence[Port], Sequence[Port]]) -> Any:
    """Return a part as an OpenVINO model of its own."""
    formulas, inputs, outputs = part
    onnx = require_package("onnx", "writing ONNX files")
    make = onnx.helper
    ports = ([_info(onnx, port) for port in each] for each in (inputs, outputs))
    graph = make.make_graph(formulas.nodes, formulas.prefix, *ports, formulas.constants)
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    return openvino.Core().read_model(io.BytesIO(model.SerializeToString()))


def _replace(output: Any, source: Any) -> None:
    for target in output.get_target_inputs():
        target.replace_source_output(source)


def _batch(before: Formulas | None, shape: tuple[Size, ...]) -> tuple[Size, ...]:
    """Return the shape of an output: one image at a time, where the input is an image."""
    return shape if before is None else (1, *shape[1:])


def _info(onnx: Any, port: Port) -> Any:
    name, kind, shape = port
    return onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(np.dtype(kind)), shape)
