"""Parts joined to a network: nodes before its input or after its output, in ONNX and in OpenVINO."""

import io
from typing import Any

from convwright.engines.parts import IMAGE, PIXELS
from convwright.exporting.onnx_terms import Formulas
from convwright.exporting.onnx_writer import IR_VERSION, OPSET
from convwright.extras import require_package


def join_onnx(model: Any, parts: Formulas) -> Any:
    """Return an ONNX model whose input is an image of any size.

    Args:
        model: The network; its input is called `PIXELS`.
        parts: Nodes from `IMAGE` to `PIXELS`.
    """
    onnx = require_package("onnx", "writing ONNX files")
    joined = onnx.ModelProto()
    joined.CopyFrom(model)
    graph = joined.graph
    nodes = [*parts.nodes, *graph.node]
    del graph.node[:], graph.input[:]
    graph.node.extend(nodes)
    graph.initializer.extend(parts.constants)
    graph.input.append(_image_info(onnx))
    for output in graph.output:
        output.type.tensor_type.shape.dim[0].dim_value = 1
    onnx.checker.check_model(joined)
    return joined


def join_openvino(model: Any, parts: Formulas) -> Any:
    """Return an OpenVINO model whose input is an image of any size; see `join_onnx`."""
    openvino = require_package("openvino", "the format openvino")
    onnx = require_package("onnx", "writing ONNX files")
    joined = model.clone()
    pixels = joined.input(0)
    before = openvino.Core().read_model(io.BytesIO(_as_model(onnx, parts, pixels).SerializeToString()))
    source = before.output(PIXELS).get_node().input_value(0)
    for target in pixels.get_target_inputs():
        target.replace_source_output(source)
    return openvino.Model(joined.get_results(), before.get_parameters(), joined.get_friendly_name())


def _as_model(onnx: Any, parts: Formulas, pixels: Any) -> Any:
    """Return a part as an ONNX model of its own."""
    make, kind = onnx.helper, onnx.TensorProto.UINT8
    shape = [1, *(size.get_length() for size in list(pixels.get_partial_shape())[1:])]
    ports = [_image_info(onnx)], [make.make_tensor_value_info(PIXELS, kind, shape)]
    graph = make.make_graph(parts.nodes, parts.prefix, *ports, parts.constants)
    return make.make_model(graph, opset_imports=[make.make_opsetid("", OPSET)], ir_version=IR_VERSION)


def _image_info(onnx: Any) -> Any:
    return onnx.helper.make_tensor_value_info(IMAGE, onnx.TensorProto.UINT8, [1, "height", "width", 3])
