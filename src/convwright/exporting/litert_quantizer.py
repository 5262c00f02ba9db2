"""Quantization of LiteRT files by AI Edge Quantizer: weights and feature maps in 8 bits."""

import re
import warnings
from collections.abc import Sequence

import numpy as np

from convwright.engines.litert import PIXELS, litert_runner
from convwright.engines.runner import Runner, cores
from convwright.exporting.quiet import quiet
from convwright.extras import require_package
from convwright.machine import silenced_native_errors

PURPOSE = "quantizing LiteRT files"
SIGNATURE = "serving_default"
_NOT_QUANTIZED = "no_quantize"


class LitertQuantizer:
    """Quantization of a model; models are the contents of files.

    Args:
        model: The content of a file in float.
        left_out: Start of the names of operations that always stay in float.
    """

    def __init__(self, model: bytes, left_out: str) -> None:
        with quiet():
            require_package("ai_edge_quantizer", PURPOSE)
        self.model, self.left_out = model, left_out

    def layers(self) -> list[str]:
        """Return the names of the operations, in order; the last one is the classifier."""
        from ai_edge_litert import schema_py_generated as schema

        graph = schema.ModelT.InitFromPackedBuf(self.model, 0).subgraphs[0]
        names = [graph.tensors[op.outputs[0]].name.decode() for op in graph.operators]
        return [name for name in names if not name.startswith(self.left_out)]

    def quantize(self, images: np.ndarray, ignored: Sequence[str]) -> bytes:
        """Return a quantized model with some operations left in float."""
        if not {*self.layers()} - {*ignored}:
            return self.model
        with quiet(), silenced_native_errors(), warnings.catch_warnings(action="ignore"):
            from ai_edge_quantizer import quantizer, recipe

            tool = quantizer.Quantizer(bytearray(self.model), recipe.static_wi8_ai8())
            for port in ("INPUT", "OUTPUT"):
                tool.update_quantization_recipe(".*", port, algorithm_key=_NOT_QUANTIZED)
            for pattern in (f"^{re.escape(self.left_out)}", *(f"^{re.escape(name)};" for name in ignored)):
                tool.update_quantization_recipe(pattern, "*", algorithm_key=_NOT_QUANTIZED)
            rows = [{PIXELS: np.ascontiguousarray(image[None].transpose(0, 2, 3, 1))} for image in images]
            ranges = tool.calibrate({SIGNATURE: rows}, num_threads=cores())
            return bytes(tool.quantize(ranges).quantized_model)

    def runner(self, model: bytes) -> Runner:
        """Return a function that runs a model."""
        return litert_runner(model, None)
