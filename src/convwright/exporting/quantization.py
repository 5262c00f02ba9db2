"""Eight bits after training: calibrated on training images, with the layers that lose too much left in float.

NNCF quantizes OpenVINO models and ONNX Runtime's own tool ONNX models. Which layers to leave is searched alike for
both: groups of layers are tried one by one, on training images that calibration has not seen.
"""

import math
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from convwright.engines.registry import openvino_runner
from convwright.engines.runner import Runner
from convwright.errors import NotFiniteError
from convwright.exporting.agreement import Agreement, Check, compare, logits_of
from convwright.extras import require_package

CALIBRATED_ON, SCORED_ON = 256, 512
"""Images for each of the two, at most."""
MAX_DROP = 0.005
"""Accuracy that may be lost, as a share."""
MOST_KEPT = 6
"""So many groups are left in float at most."""
GATES, LAST = "squeeze-and-excitation", "classifier"
INPUT = "normalisation"
"""How the operations are named that prepare the images; they stay in float."""
ONNX_OPERATIONS = ("Conv", "Gemm", "Add", "Concat", "MaxPool", "AveragePool", "Relu", "Clip")
OPENVINO_OPERATIONS = frozenset(
    [
        "Convolution",
        "GroupConvolution",
        "MatMul",
        "Add",
        "Multiply",
        "Concat",
        "MaxPool",
        "AvgPool",
        "ReduceMean",
        "Relu",
        "Clamp",
        "Sigmoid",
        "Swish",
        "HSwish",
        "HSigmoid",
        "Gelu",
        "Tanh",
        "Maximum",
        "Minimum",
        "Pad",
    ]
)
_UNNAMED = re.compile(r"[A-Z]\w*_\d+")
"""Names that OpenVINO gives to what stands in no network, as sums of sizes."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """Training images that set the ranges of 8 bits, others to score on, and how much accuracy may be lost."""

    images: np.ndarray
    """uint8, N x C x H x W."""
    scoring: Check
    max_drop: float = MAX_DROP


@dataclass(frozen=True)
class Kept:
    """What quantization left in float."""

    layers: tuple[str, ...]
    """Operations, as the format names them."""
    groups: tuple[str, ...]
    lost: float
    """Accuracy lost on the images scored on, of the training split."""
    max_drop: float

    def refusal(self, agreement: Agreement) -> str:
        """Return why the quantized network will not do, or an empty text."""
        if not math.isfinite(agreement.difference):
            return f"its answers to {agreement.images} images are no finite numbers"
        lost = agreement.lost[0] if agreement.lost else 1 - agreement.same
        if lost <= self.max_drop:
            return ""
        what = "accuracy" if agreement.lost else "of the answers"
        return (
            f"8 bits cost {100 * lost:.2f} points of {what} on {agreement.images} images, more than the "
            f"{100 * self.max_drop:g} allowed (--max-drop), with {', '.join(self.groups) or 'nothing'} left in float"
        )


class Quantizer(Protocol):
    """How one format is quantized."""

    def layers(self) -> list[str]:
        """Return the names of the operations that can be quantized, in order; the last is the classifier's."""

    def quantize(self, images: np.ndarray, ignored: Sequence[str]) -> Any:
        """Return the model with these operations left in float."""

    def runner(self, model: Any) -> Runner:
        """Return what runs a model."""


def check_quantizer(format: str) -> None:
    """UsageError if the package is missing that quantizes for a format."""
    if format == "onnx":
        require_package("onnxruntime", "quantizing ONNX files")
    else:
        require_package("nncf", "quantizing for OpenVINO")


def quantized(
    model: Any, format: str, calibration: Calibration, folder: Path, progress: Callable[[str], None]
) -> tuple[Any, Kept]:
    """Return a model in 8 bits, and what was left in float so that no more accuracy is lost than allowed."""
    made: Quantizer = _Onnx(model, folder) if format == "onnx" else _OpenVino(model)
    return search(made, model, calibration, progress)


def search(
    made: Quantizer, model: Any, calibration: Calibration, progress: Callable[[str], None] = lambda _: None
) -> tuple[Any, Kept]:
    """Quantize all; while too much accuracy is lost, leave the group in float whose return mends most."""
    scoring = calibration.scoring
    expected = logits_of(made.runner(model), scoring.images)
    # Without labels the float network's own answers are what must not change.
    labels = expected.argmax(1) if scoring.labels is None else scoring.labels
    waiting = groups_of(made.layers())

    def attempt(names: Sequence[str]) -> tuple[Any, Agreement]:
        candidate = made.quantize(calibration.images, [layer for name in names for layer in groups[name]])
        try:
            logits = logits_of(made.runner(candidate), scoring.images)
        except NotFiniteError:
            logits = np.full_like(expected, np.nan)  # another group in float may mend it
        return candidate, compare(expected, logits, labels)

    groups = dict(waiting)
    kept: list[str] = []
    progress("quantizing")
    best, agreement = attempt(kept)
    while _loss(agreement) > calibration.max_drop and waiting and len(kept) < MOST_KEPT:
        tries = {}
        for name in waiting:
            progress(f"quantizing with {', '.join([*kept, name])} in float")
            tries[name] = attempt([*kept, name])
        chosen = min(tries, key=lambda name: (_loss(tries[name][1]), tries[name][1].difference))
        best, agreement = tries[chosen]
        kept.append(chosen)
        del waiting[chosen]
    layers = tuple(layer for name in kept for layer in groups[name])
    return best, Kept(layers, tuple(kept), _loss(agreement), calibration.max_drop)


def groups_of(layers: Sequence[str]) -> dict[str, list[str]]:
    """Group layers by the stage of the network that they belong to; all gates, and the classifier, by themselves."""
    groups: dict[str, list[str]] = {}
    last = _path(layers[-1]) if layers else ""
    for layer in layers:
        own = LAST if _path(layer) == last else layer.partition(".")[0]
        name = GATES if ".se." in layer else own
        groups.setdefault(name, []).append(layer)
    return groups


def _path(layer: str) -> str:
    """Return whose operation it is: OpenVINO has "head.linear" for the sum and "head.linear/..." for the product."""
    return layer.partition("/")[0]


def _loss(agreement: Agreement) -> float:
    return agreement.lost[0] if agreement.lost else 1.0


class _Onnx:
    """ONNX Runtime's static quantization, a scale for each output channel of the weights."""

    def __init__(self, model: Any, folder: Path) -> None:
        require_package("onnxruntime", "quantizing ONNX files")
        self.model, self.folder = model, folder

    def layers(self) -> list[str]:
        return [name for name in self._nodes() if not name.startswith(INPUT)]

    def _nodes(self) -> list[str]:
        return [node.name for node in self.model.graph.node if node.op_type in ONNX_OPERATIONS]

    def quantize(self, images: np.ndarray, ignored: Sequence[str]) -> Any:
        import onnx
        from onnxruntime import quantization as tool

        path, given = self.folder / "quantized.onnx", self.model.graph.input[0].name
        with _quiet():
            tool.quantize_static(
                deepcopy(self.model),  # the tool moves the weights of what it is given into a file
                path,
                _Reader(images, given, tool.CalibrationDataReader),
                per_channel=True,
                activation_type=tool.QuantType.QUInt8,
                weight_type=tool.QuantType.QInt8,
                # Images are whole numbers from 0 to 255: 8 bits before their mean is subtracted would only lose.
                nodes_to_exclude=[*ignored, *(name for name in self._nodes() if name.startswith(INPUT))],
                op_types_to_quantize=list(ONNX_OPERATIONS),
            )
        quantized = onnx.load(path)
        path.unlink()
        return quantized

    def runner(self, model: Any) -> Runner:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        return lambda images: session.run(None, {name: images})[0]


def _Reader(images: np.ndarray, name: str, base: type) -> Any:  # noqa: N802 - makes a class whose base comes late
    class Reader(base):
        def __init__(self) -> None:
            self.rest: Iterator[np.ndarray] = iter(images[:, None])

        def get_next(self) -> dict[str, np.ndarray] | None:
            image = next(self.rest, None)
            return None if image is None else {name: image}

    return Reader()


class _OpenVino:
    """NNCF's quantization after training."""

    def __init__(self, model: Any) -> None:
        self.nncf = require_package("nncf", "quantizing for OpenVINO")
        self.openvino = require_package("openvino", "quantizing for OpenVINO")
        self.model = model

    def layers(self) -> list[str]:
        named = [
            op.get_friendly_name() for op in self.model.get_ordered_ops() if op.get_type_name() in OPENVINO_OPERATIONS
        ]
        return [name for name in named if not name.startswith(INPUT) and not _UNNAMED.fullmatch(name)]

    def quantize(self, images: np.ndarray, ignored: Sequence[str]) -> Any:
        """Quantize with ranges from the least to the largest value.

        NNCF's default is the mean over images of each one's extremes, which cuts off half of them. On the digits
        (cifar_seresnet8|scale:w=0.5 after 5 epochs, 512 training images) that is off by 33 % of the largest logit and
        costs 0.8 points, and this by 4 % and none. Neither the preset, nor corrected biases (where the format lets NNCF
        find them, the fast way costs 7 points), nor the fix of overflows gained anything.
        """
        nncf = self.nncf
        estimators = nncf.quantization.range_estimator.RangeEstimatorParametersSet
        with _quiet():
            return nncf.quantize(
                self.model,
                nncf.Dataset(list(images[:, None])),
                subset_size=len(images),
                ignored_scope=nncf.IgnoredScope(names=list(ignored)) if ignored else None,
                preset=nncf.QuantizationPreset.MIXED,
                advanced_parameters=nncf.AdvancedQuantizationParameters(
                    activations_range_estimator_params=estimators.MINMAX, disable_bias_correction=True
                ),
            )

    def runner(self, model: Any) -> Runner:
        return openvino_runner(self.openvino.Core(), model, None, "f32")


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the tools' bars and advice off the screen; their errors are raised."""
    import logging
    import os
    import sys
    from contextlib import redirect_stderr, redirect_stdout

    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):  # noqa: PTH123
            yield
    finally:
        logging.disable(before)
        sys.stdout.flush()
