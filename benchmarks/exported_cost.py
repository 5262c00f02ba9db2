"""Parameters and multiply-adds of an exported file, counted in the file itself."""

from pathlib import Path
from typing import Any

import numpy as np

WEIGHTED = {"Conv", "Gemm", "MatMul"}


def counted(path: Path) -> dict[str, float]:
    """Return `params` and `macs` of an ONNX file for one image, those of its weighted operators.

    The file is run once, so that sizes are those that it really computes with. Weights in 8 bits are found behind the
    operator that makes floats of them. What has no weights of its own, such as a resize, does not count.

    Args:
        path: The file.
    """
    import onnx
    import onnxruntime

    model = onnx.load(str(path))
    constants = {each.name: list(each.dims) for each in model.graph.initializer}
    made_by = {name: node for node in model.graph.node for name in node.output}

    def shape_of(name: str) -> list[int] | None:
        node = made_by.get(name)
        while name not in constants and node is not None and node.op_type in ("DequantizeLinear", "Identity"):
            name = node.input[0]
            node = made_by.get(name)
        return constants.get(name)

    nodes = [node for node in model.graph.node if node.op_type in WEIGHTED and shape_of(node.input[1]) is not None]
    known = {each.name for each in model.graph.output}
    for node in nodes:
        if node.output[0] not in known:
            model.graph.output.append(onnx.ValueInfoProto(name=node.output[0]))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    feeds = {each.name: _zeros(each) for each in session.get_inputs()}
    wanted = [node.output[0] for node in nodes]
    params = macs = 0
    for node, output in zip(nodes, session.run(wanted, feeds), strict=True):
        weight = shape_of(node.input[1])
        assert weight is not None
        bias = [shape for name in node.input[2:] if (shape := shape_of(name)) is not None]
        params += int(np.prod(weight)) + sum(int(np.prod(shape)) for shape in bias)
        inputs = int(np.prod(weight[1:])) if node.op_type == "Conv" else int(np.prod(weight)) // output.shape[-1]
        macs += output.size * inputs
    return {"params": float(params), "macs": float(macs)}


def _zeros(value: Any) -> np.ndarray:
    """Return an input of zeros: one image, 64 px where the file leaves the size open."""
    shape = [
        one if isinstance(one, int) and one > 0 else 1 if place == 0 else 64 for place, one in enumerate(value.shape)
    ]
    kind = np.uint8 if "uint8" in value.type else np.float32
    return np.zeros(shape, kind)
