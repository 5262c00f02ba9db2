"""Quantization of ExecuTorch files: torchao's quantization after training, with the rules of XNNPACK."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from convwright.engines import program as steps
from convwright.engines.runner import Runner
from convwright.exporting.executorch_writer import TraceableProgram
from convwright.exporting.quiet import quiet
from convwright.extras import require_package

PURPOSE = "quantizing ExecuTorch files"
BATCH = 16
"""Images that ranges are measured on at once."""


class ExecutorchQuantizer:
    """Quantization of a program; its models are torch modules that compute as the quantized file will.

    Args:
        program: The program.
        left_out: Start of the paths of operations that always stay in float.
    """

    def __init__(self, program: steps.Program, left_out: str) -> None:
        require_package("torchao", PURPOSE)
        self.program, self.left_out = program, left_out
        module = TraceableProgram(program).eval()
        images = torch.zeros(2, *program.input_shape, dtype=torch.uint8)
        sizes = ({0: torch.export.Dim("batch", min=1)},)
        self.exported = torch.export.export(module, (images,), dynamic_shapes=sizes)

    def model(self) -> Any:
        """Return the model in float."""
        return self.exported.module()

    def layers(self) -> list[str]:
        """Return the paths of the operations, in order; the last one is the classifier."""
        kinds = (steps.Convolve, steps.Connect, steps.Sum, steps.Multiply, steps.Join, steps.Window, steps.Mean)
        paths = [op.path for op in self.program.ops if isinstance(op, kinds) and not op.path.startswith(self.left_out)]
        return [*dict.fromkeys(paths)]

    def quantize(self, images: np.ndarray, ignored: Sequence[str]) -> Any:
        """Return a quantized model with some operations left in float."""
        with quiet():
            from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
                XNNPACKQuantizer,
                get_symmetric_quantization_config,
            )
            from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

            rules = XNNPACKQuantizer().set_global(get_symmetric_quantization_config(is_per_channel=True))
            rules.set_filter_function(lambda node: self._is_quantized(node, ignored))
            prepared = prepare_pt2e(self.model(), rules)
            with torch.no_grad():
                for batch in torch.from_numpy(images).split(BATCH):
                    prepared(batch)
            return convert_pt2e(prepared)

    def _is_quantized(self, node: Any, ignored: Sequence[str]) -> bool:
        names = [str(name) for name, _ in node.meta.get("nn_module_stack", {}).values()]
        number = next((name.rpartition(".")[2] for name in names if "steps." in name), "")
        if not number.isdecimal():
            return True
        path = self.program.ops[int(number)].path
        return path not in ignored and not path.startswith(self.left_out)

    def runner(self, model: Any) -> Runner:
        """Return a function that runs a model in torch."""

        def run(images: np.ndarray) -> np.ndarray:
            with torch.no_grad():
                logits: np.ndarray = model(torch.from_numpy(np.ascontiguousarray(images))).numpy()
            return logits

        return run
