"""Post-training quantization to 8 bits, with the layers left in float whose quantization costs too much accuracy.

NNCF quantizes OpenVINO models, ONNX Runtime's own tool ONNX models, AI Edge Quantizer LiteRT models, and torchao
ExecuTorch models. Which layers to leave in float is
searched in the same way for all: groups of layers are tried one by one, on training images that are not used for
calibration.
"""

import math
import re
import time
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from convwright.display.wording import counted
from convwright.engines.own import openvino_runner
from convwright.engines.runner import Runner
from convwright.errors import NotFiniteError
from convwright.exporting.agreement import Agreement, CheckImages, compare, label_sets, logits_of
from convwright.exporting.quiet import quiet
from convwright.extras import require_package
from convwright.machine import preserved_signal_stack

CALIBRATION_IMAGES, SCORING_IMAGES = 256, 512
"""Most images that ranges of activations are measured on, and most on which the accuracy lost is measured."""
OPEN_BATCH_IMAGES, OPEN_BATCH_TOLERANCE = 8, 0.05
"""Images on which a quantized OpenVINO model runs with an open batch size, and the largest difference of a logit, as
a share of its image's largest one: rounding in 8 bits explains less."""
MAX_DROP = 0.005
"""Accuracy that quantization may cost, as a share."""
MOST_FLOAT_GROUPS = 6
"""Most groups that are left in float."""
GATES, LAST = "squeeze-and-excitation", "classifier"
INPUT = "normalisation"
"""First part of the names of the operations that normalise images; they stay in float."""
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
"""Names that OpenVINO gives to operations of its own, such as sums of sizes."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """Training images to quantize with."""

    images: np.ndarray
    """Images that set the ranges of 8 bits, `N x C x H x W`, uint8."""
    scoring: CheckImages
    """Images on which the accuracy lost is measured."""
    max_drop: float = MAX_DROP
    """Accuracy that quantization may cost, as a share."""
    search_seconds: float | None = None
    """Seconds after which no further layers are left in float, though too much is lost; None: no limit."""


class Drop(Enum):
    """What images show about the accuracy that quantization costs, beside what it may cost."""

    WITHIN = "within"
    """The whole interval is within what is allowed."""
    UNDECIDED = "undecided"
    """The interval holds what is allowed: too few images to decide."""
    EXCEEDED = "exceeded"
    """The whole interval is above what is allowed."""


@dataclass(frozen=True)
class FloatLayers:
    """What quantization left in float."""

    layers: tuple[str, ...]
    """Operations, by their names in the format."""
    groups: tuple[str, ...]
    """Parts of the network to which the operations belong."""
    lost: float
    """Accuracy lost on the scoring images, which are of the training split."""
    max_drop: float
    """Accuracy that quantization may cost, as a share."""

    one_image: bool = False
    """Whether the file takes one image at a time, as OpenVINO computes other values where their number is open."""

    def verdict(self, agreement: Agreement) -> Drop:
        """Return what images show about the accuracy lost, by its 95 % interval.

        Without labels, the share of predictions that changed takes the place of the accuracy lost.
        """
        _, low, high = agreement.lost or agreement.changes
        return Drop.WITHIN if high <= self.max_drop else Drop.EXCEEDED if low > self.max_drop else Drop.UNDECIDED

    def refusal(self, agreement: Agreement) -> str:
        """Return why the quantized network is refused; empty if it is accepted.

        It is refused where even the lower end of the interval exceeds `max_drop`: a few images, of which a single one
        may be more than `max_drop`, are no evidence of a loss.
        """
        if not math.isfinite(agreement.difference):
            return f"its logits for {counted(agreement.images, 'image')} are not finite numbers"
        if self.verdict(agreement) is not Drop.EXCEEDED:
            return ""
        lost, low, high = (100 * share for share in agreement.lost or agreement.changes)
        what = agreement.measure if agreement.lost else "equal predictions"
        return (
            f"8 bits cost {lost:.2f} points of {what} on {counted(agreement.images, 'image')} (95 % interval {low:.2f} "
            f"to {high:.2f}), more than the {100 * self.max_drop:g} allowed (`max_drop`), with "
            f"{', '.join(self.groups) or 'nothing'} left in float; allow a larger drop, or keep the network in float"
        )

    def finding(self, agreement: Agreement) -> str:
        """Return a sentence on what images show about the accuracy lost."""
        lost, low, high = (100 * share for share in agreement.lost or agreement.changes)
        what = f"points of {agreement.measure if agreement.lost else 'equal predictions'}"
        allowed = f"{100 * self.max_drop:g}"
        images = counted(agreement.images, "image")
        shows = {
            Drop.WITHIN: f"the loss is shown to be at most the {allowed} allowed",
            Drop.UNDECIDED: f"too few images to show that the loss is at most the {allowed} allowed",
            Drop.EXCEEDED: f"more than the {allowed} allowed",
        }[self.verdict(agreement)]
        return f"8 bits cost {lost:.2f} {what} on {images} (95 % interval {low:.2f} to {high:.2f}): {shows}"


class Quantizer(Protocol):
    """Quantization of one format."""

    def layers(self) -> list[str]:
        """Return the names of the operations that can be quantized, in order; the last one is the classifier."""

    def quantize(self, images: np.ndarray, ignored: Sequence[str]) -> Any:
        """Return a quantized model with some operations left in float."""

    def runner(self, model: Any) -> Runner:
        """Return a function that runs a model."""


def check_quantizer(format: str) -> None:
    """Check that the package is installed that quantizes a format.

    Raises:
        UsageError: It is not installed.
    """
    package, purpose = {
        "onnx": ("onnxruntime", "quantizing ONNX files"),
        "openvino": ("nncf", "quantizing for OpenVINO"),
        "litert": ("ai_edge_quantizer", "quantizing LiteRT files"),
        "executorch": ("torchao", "quantizing ExecuTorch files"),
    }[format]
    with quiet():
        require_package(package, purpose)


def quantized(
    model: Any, format: str, calibration: Calibration, folder: Path, progress: Callable[[str], None]
) -> tuple[Any, FloatLayers]:
    """Quantize a model to 8 bits.

    Args:
        model: The model of ONNX or OpenVINO; of LiteRT, the content of a file; of ExecuTorch, the program.
        format: `onnx`, `openvino`, `litert` or `executorch`.
        calibration: Images to quantize with, and the accuracy that it may cost.
        folder: Folder for temporary files.
        progress: Gets a description of each step.

    Returns:
        The quantized model, and what was left in float.
    """
    if format == "executorch":
        from convwright.exporting.executorch_quantizer import ExecutorchQuantizer

        traced = ExecutorchQuantizer(model, INPUT)
        return search(traced, traced.model(), calibration, progress)
    if format == "litert":
        from convwright.exporting.litert_quantizer import LitertQuantizer

        return search(LitertQuantizer(model, INPUT), model, calibration, progress)
    if format == "onnx":
        return search(_Onnx(model, folder), model, calibration, progress)
    quantizer = _OpenVino(model)
    found, left = search(quantizer, model, calibration, progress)
    if not quantizer.agrees_with_open_batch(found, calibration.images[:OPEN_BATCH_IMAGES]):
        found.reshape([1, *calibration.images.shape[1:]])
        left = replace(left, one_image=True)
    return found, left


def search(
    made: Quantizer, model: Any, calibration: Calibration, progress: Callable[[str], None] = lambda _: None
) -> tuple[Any, FloatLayers]:
    """Quantize all layers; while too much accuracy is lost, leave the group in float that recovers most of it.

    Args:
        made: Quantization of the model's format.
        model: The model in float.
        calibration: Images to quantize with, and the accuracy that it may cost.
        progress: Gets a description of each step.

    Returns:
        The quantized model, and what was left in float.
    """
    scoring = calibration.scoring
    expected = logits_of(made.runner(model), scoring.images)
    # Without labels, the float network's own predictions must not change.
    labels = scoring.labels
    if labels is None:
        own = expected.argmax(1) if scoring.thresholds is None else label_sets(expected, scoring.thresholds)
        labels = own if own.any() or scoring.thresholds is None else None
    waiting = groups_of(made.layers())

    def attempt(names: Sequence[str]) -> tuple[Any, Agreement]:
        candidate = made.quantize(calibration.images, [layer for name in names for layer in groups[name]])
        try:
            logits = logits_of(made.runner(candidate), scoring.images)
        except NotFiniteError:
            logits = np.full_like(expected, np.nan)  # with another group in float they may be finite
        return candidate, compare(expected, logits, labels, scoring.thresholds)

    groups = dict(waiting)
    left: list[str] = []
    progress("quantizing")
    limit, started = calibration.search_seconds, time.monotonic()

    def time_is_over() -> bool:
        return limit is not None and time.monotonic() - started >= limit

    best, agreement = attempt(left)
    while _loss(agreement) > calibration.max_drop and waiting and len(left) < MOST_FLOAT_GROUPS:
        tries = {}
        for name in waiting:
            if time_is_over():
                break
            progress(f"quantizing with {', '.join([*left, name])} in float")
            tries[name] = attempt([*left, name])
        if not tries:
            break
        chosen = min(tries, key=lambda name: (_loss(tries[name][1]), tries[name][1].difference))
        best, agreement = tries[chosen]
        left.append(chosen)
        del waiting[chosen]
    layers = tuple(layer for name in left for layer in groups[name])
    return best, FloatLayers(layers, tuple(left), _loss(agreement), calibration.max_drop)


def groups_of(layers: Sequence[str]) -> dict[str, list[str]]:
    """Group layers by the stage that they belong to; all gates form one group, and so does the classifier."""
    groups: dict[str, list[str]] = {}
    last = _path(layers[-1]) if layers else ""
    for layer in layers:
        own = LAST if _path(layer) == last else layer.partition(".")[0]
        name = GATES if ".se." in layer else own
        groups.setdefault(name, []).append(layer)
    return groups


def _path(layer: str) -> str:
    """Return the layer of an operation: OpenVINO names a sum `head.linear` and its product `head.linear/...`."""
    return layer.partition("/")[0]


def _loss(agreement: Agreement) -> float:
    if agreement.lost:
        return agreement.lost[0]
    return agreement.changes[0] if agreement.multi_label else 1.0


class _Onnx:
    """ONNX Runtime's static quantization, a scale for each output channel of the weights."""

    def __init__(self, model: Any, folder: Path) -> None:
        with quiet():
            require_package("onnxruntime", "quantizing ONNX files")
        self.model, self.folder = model, folder

    def layers(self) -> list[str]:
        return [name for name in self._nodes() if not name.startswith(INPUT)]

    def _nodes(self) -> list[str]:
        return [node.name for node in self.model.graph.node if node.op_type in ONNX_OPERATIONS]

    def quantize(self, images: np.ndarray, ignored: Sequence[str]) -> Any:
        import onnx

        path, given = self.folder / "quantized.onnx", self.model.graph.input[0].name
        with quiet():
            from onnxruntime import quantization as tool

            tool.quantize_static(
                deepcopy(self.model),  # the tool moves the weights of its argument into a file
                path,
                _Reader(images, given, tool.CalibrationDataReader),
                per_channel=True,
                activation_type=tool.QuantType.QUInt8,
                weight_type=tool.QuantType.QInt8,
                # Images are whole numbers from 0 to 255: quantizing them before their mean is subtracted only costs.
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


def _Reader(images: np.ndarray, name: str, base: type) -> Any:  # noqa: N802 - makes a class; its base is imported late
    class Reader(base):  # type: ignore[misc]
        def __init__(self) -> None:
            self.rest: Iterator[np.ndarray] = iter(images[:, None])

        def get_next(self) -> dict[str, np.ndarray] | None:
            image = next(self.rest, None)
            return None if image is None else {name: image}

    return Reader()


class _OpenVino:
    """NNCF's quantization after training."""

    def __init__(self, model: Any) -> None:
        with quiet():
            self.nncf = require_package("nncf", "quantizing for OpenVINO")
        self.openvino = require_package("openvino", "quantizing for OpenVINO")
        self.model = model

    def layers(self) -> list[str]:
        named = [
            op.get_friendly_name() for op in self.model.get_ordered_ops() if op.get_type_name() in OPENVINO_OPERATIONS
        ]
        return [name for name in named if not name.startswith(INPUT) and not _UNNAMED.fullmatch(name)]

    def quantize(self, images: np.ndarray, ignored: Sequence[str]) -> Any:
        """Quantize with ranges from the smallest to the largest value.

        NNCF's default is the mean over images of each image's extremes, which cuts off half of them. On the digits
        (cifar_seresnet8|scale:w=0.5 after 5 epochs, 512 training images) the default changes logits by 33 % of the
        largest one and costs 0.8 points; the full range changes them by 4 % and costs nothing. Neither the preset, nor
        bias correction (where the format supports it, the fast variant costs 7 points), nor the overflow fix helped.
        """
        nncf = self.nncf
        estimators = nncf.quantization.range_estimator.RangeEstimatorParametersSet
        with quiet(), preserved_signal_stack():
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

    def agrees_with_open_batch(self, model: Any, images: np.ndarray) -> bool:
        """Return whether OpenVINO computes about the same where the number of images is open, as in other programs.

        OpenVINO 2026.4 computes batches of several images correctly then, and single images wrongly.
        """
        settings = {"INFERENCE_PRECISION_HINT": "f32"}
        with preserved_signal_stack():
            request = self.openvino.Core().compile_model(model, "CPU", settings).create_infer_request()
        found = np.concatenate([np.array(request.infer([one[None]])[0]) for one in images])
        return compare(logits_of(self.runner(model), images), found, None).difference <= OPEN_BATCH_TOLERANCE

    def runner(self, model: Any) -> Runner:
        return openvino_runner(self.openvino.Core(), model, None, "f32")
