"""Compiled OpenVINO models by the number of images in a batch."""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from convwright.engines.parts import PIXELS
from convwright.machine import preserved_signal_stack

MOST_FIXED = 8
"""Most sizes of batches for which a quantized model stays compiled."""


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
    """

    def __init__(self, core: Any, model: Any, settings: Mapping[str, object]) -> None:
        self.core, self.model, self.settings = core, model, settings
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
        with preserved_signal_stack():
            return self.core.compile_model(model, "CPU", dict(self.settings)).create_infer_request()
