"""Compiled OpenVINO models by the number of images in a batch."""

import signal
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from convwright.engines.parts import PIXELS
from convwright.machine import preserved_signal_stack

MOST_FIXED = 8
"""Most sizes of batches for which a quantized model stays compiled."""


_COMPILE = """
import ast, sys, openvino
core = openvino.Core()
core.compile_model(core.read_model(sys.argv[1]), "CPU", ast.literal_eval(sys.argv[2]))
"""


def is_quantized(model: Any) -> bool:
    """Return whether a model computes in 8 bits."""
    return any(op.get_type_name() == "FakeQuantize" for op in model.get_ops())


class OpenVinoRequests:
    """Compiles a model for the size of each batch.

    A model in float is compiled for the size of the first batch: with an open batch size, OpenVINO would plan shapes
    and memory anew in every run. Batches of other sizes share a second compiled model with an open batch size.

    A quantized model is compiled for each size: with an open one, OpenVINO 2026.4 computes single images wrongly
    where feature maps have one pixel.

    Args:
        core: OpenVINO's `Core`.
        model: Model to compile.
        settings: Settings of the compilation.
        verified: Whether an export has run the model in OpenVINO. Other quantized models are first compiled in a
            process of their own, as OpenVINO 2026.4 crashes on some DenseNets in 8 bits.
    """

    def __init__(self, core: Any, model: Any, settings: Mapping[str, object], *, verified: bool = True) -> None:
        self.core, self.model, self.settings, self.verified = core, model, settings, verified
        self.always_fixed = is_quantized(model)
        self._requests: OrderedDict[int | None, Any] = OrderedDict()

    def of(self, count: int) -> Any:
        """Return a request that runs batches of a number of images."""
        fixed = self.always_fixed or not self._requests or count in self._requests
        key = count if fixed else None
        if key not in self._requests:
            self._requests[key] = self._compiled(key)
        self._requests.move_to_end(key)
        if self.always_fixed and len(self._requests) > MOST_FIXED:
            self._requests.popitem(last=False)
        return self._requests[key]

    def _compiled(self, count: int | None) -> Any:
        model = self.model.clone()
        if count is not None:
            port = next((port for port in model.inputs if PIXELS in port.get_names()), model.input(0))
            sizes = [size.get_length() for size in list(port.get_partial_shape())[1:]]
            model.reshape({port: [count, *sizes]})
        if self.always_fixed and not self.verified:
            _check_compiles(model, self.settings)
        with preserved_signal_stack():
            return self.core.compile_model(model, "CPU", dict(self.settings)).create_infer_request()


def _check_compiles(model: Any, settings: Mapping[str, object]) -> None:
    """Compile a model in a process of its own.

    Raises:
        RuntimeError: The process crashed. Errors of other kinds are left to the compilation in this process.
    """
    import openvino

    with TemporaryDirectory(prefix="convwright-") as folder:
        path = Path(folder) / "model.xml"
        openvino.save_model(model, path, compress_to_fp16=False)
        command = [sys.executable, "-c", _COMPILE, str(path), repr(dict(settings))]
        done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode < 0:
        name = signal.Signals(-done.returncode).name
        raise RuntimeError(f"it crashes when it compiles this network in 8 bits ({name}); use another engine")
