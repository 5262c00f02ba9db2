"""A winner's file in 8-bit integers: written where the budget needs it, or where time allows and it is better."""

import math
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import torch

from convwright.designing.file_export import FileOptions, write_file
from convwright.designing.request import DesignRequest
from convwright.designing.shipped_file import TORCH, Shipped, evaluate_file, measure_file
from convwright.designing.time_plan import INT8_FACTOR
from convwright.display.wording import counted, points, points_between
from convwright.engines.registry import open_file
from convwright.errors import ConvwrightError, WriteError
from convwright.evaluation.assessment import with_channels
from convwright.exporting.quantization import MAX_DROP
from convwright.exporting.result import ExportResult
from convwright.exporting.verification import image_seconds
from convwright.printable import quoted
from convwright.scaling.budget import LATENCY, format_amount
from convwright.training.run import Run
from convwright.training.run_data import open_run_data

USES_FLOATS = "the file uses 32-bit floats"
"""Decision against a file in 8 bits."""
USES_INT8 = "the file uses 8-bit integers"
"""Decision for a file in 8 bits."""
COMPARED_IMAGES = 1000
"""Most validation images on which a file in 8 bits is compared with the network."""
MAX_POSSIBLE_DROP = 0.05
"""Largest loss of accuracy within the interval: a file in 8 bits is refused where a larger one is possible."""
FASTER_FACTOR = 0.9
"""Factor of the time of a file in floats below which one in 8 bits counts as faster: less is noise."""
ROUNDS = 5
"""Measurements of the time of each of two files, in turns."""
NO_ENGINE = "torch cannot run files with 8-bit integers"


@dataclass(frozen=True)
class Quantization:
    """Exports a run in 8-bit integers, and compares the file with the one in floats."""

    run: Run
    request: DesignRequest
    options: FileOptions
    """Input and outputs of the file in floats."""
    seconds: float
    """Seconds that it may take."""
    exports: dict[str, ExportResult] = field(default_factory=dict, init=False)
    """Files in 8 bits that were exported, by name."""

    def try_for_latency(self, shipped: Shipped) -> tuple[Shipped, tuple[str, str]]:
        """Return the file in 8 bits if it is faster than one in floats that is too slow, and the decision.

        Args:
            shipped: The file in floats.

        Raises:
            WriteError: The disk is full.
        """
        slow = (
            f"an image takes {format_amount(LATENCY, shipped.used[LATENCY])} in {shipped.engine} with 32-bit floats, "
            "more than the budget allows"
        )
        if shipped.engine == TORCH:
            return shipped, (USES_FLOATS, f"{slow}; {NO_ENGINE}")
        exported = self._export(shipped, self.seconds)
        if isinstance(exported, str):
            return shipped, (USES_FLOATS, f"{slow}; {exported}")
        try:
            quantized = measure_file(exported, self.run, self.request)
            faster, why = _is_faster(quantized, shipped)
            if faster:
                return self._tested(quantized), (USES_INT8, f"{slow}; {why}")
        except WriteError:
            raise
        except ConvwrightError as error:
            why = f"the file with 8-bit integers could not be measured: {error}"
        _remove(exported)
        return shipped, (USES_FLOATS, f"{slow}; {why}")

    def try_for_speed(self, shipped: Shipped, export_seconds: float) -> tuple[Shipped, tuple[str, str]]:
        """Return the file in 8 bits if it is faster than the one in floats and as accurate, and the decision.

        Both are compared on validation images; test images influence no choice.

        Args:
            shipped: The file in floats, which is within the budget.
            export_seconds: Seconds that its export took.

        Raises:
            WriteError: The disk is full.
        """
        engine = self.request.engine
        if engine == TORCH:
            return shipped, (USES_FLOATS, f"it is within the budget; {NO_ENGINE}")
        test_seconds = self._test_seconds(shipped)
        needed = INT8_FACTOR * export_seconds + test_seconds
        if self.seconds < needed:
            left = math.floor(max(0.0, self.seconds))
            reason = (
                f"quantization to 8 bits was skipped: it needs about {math.ceil(needed)} s, {left} s could be used "
                f"for it; run `convwright export {quoted(self.run.path)} --int8`"
            )
            return shipped, (USES_FLOATS, reason)
        exported = self._export(shipped, self.seconds - export_seconds - test_seconds)
        if isinstance(exported, str):
            return shipped, (USES_FLOATS, exported)
        quantized = None
        try:
            better, reason = self._compare(shipped, exported)
            if better:
                quantized = self._tested(measure_file(exported, self.run, self.request))
        except WriteError:
            raise
        except ConvwrightError as error:
            reason = f"the file with 8-bit integers could not be compared: {error}"
        if quantized is not None and (quantized.exceeded or quantized.unmeasured):
            quantized, reason = None, "the 8-bit file exceeds the budget, or its latency could not be measured"
        if quantized is None:
            _remove(exported)
            return shipped, (USES_FLOATS, reason)
        return quantized, (USES_INT8, reason)

    def _test_seconds(self, shipped: Shipped) -> float:
        """Return about how long the accuracy of a file on all test images takes."""
        test = open_run_data(self.run, training=False).test
        return 0.0 if test is None else len(test) * min(shipped.milliseconds.values(), default=0.0) / 1000

    def _compare(self, shipped: Shipped, exported: ExportResult) -> tuple[bool, str]:
        """Return whether a file in 8 bits is as accurate as one in floats and faster, and the figures in words."""
        engine = self.request.engine
        agreement = exported.agreements.get(engine)
        if agreement is None or agreement.lost is None:
            return False, f"the 8-bit file could not be measured in {engine}"
        lost, low, high = agreement.lost
        change = f"{points(-lost)} percentage points ({points_between((-high, -low))})"
        accuracy = f"8 bits change the accuracy by {change} on {counted(agreement.images, 'validation image')}"
        if high > MAX_POSSIBLE_DROP:
            return False, f"{accuracy}: too few images to exclude a loss of {100 * MAX_POSSIBLE_DROP:g} points"
        if low > 0 or lost > max(MAX_DROP, 1 / agreement.images):
            return False, f"{accuracy}; a loss must not be significant, and at most {100 * MAX_DROP:g}"
        before, after = self._milliseconds(shipped, exported.path)
        times = f"an image takes {after:.2f} ms in {engine} with 8 bits, and {before:.2f} ms with 32-bit floats"
        if after > FASTER_FACTOR * before:
            return False, f"8 bits are not at least {100 * (1 - FASTER_FACTOR):.0f} % faster: {times}"
        return True, f"{accuracy}; {times}"

    def _milliseconds(self, shipped: Shipped, quantized: Path) -> tuple[float, float]:
        """Return the milliseconds of an image with the files in floats and in 8 bits, measured in turns."""
        paths = self.request.out / shipped.file, quantized
        runs = [open_file(path, self.request.engine).run for path in paths]
        image = _an_image(self.run)
        rounds = [[1000 * image_seconds(partial(run, image)) for run in runs] for _ in range(ROUNDS)]
        return median(each[0] for each in rounds), median(each[1] for each in rounds)

    def _export(self, shipped: Shipped, search_seconds: float) -> ExportResult | str:
        """Return the file in 8 bits, or why it could not be exported."""
        path = self.request.out / shipped.file
        try:
            exported = write_file(
                self.run,
                path.with_stem(f"{path.stem}-int8"),
                int8=True,
                options=self.options,
                images=COMPARED_IMAGES,
                search_seconds=max(0.0, search_seconds),
            ).exported
            self.exports[exported.path.name] = exported
            return exported
        except WriteError:
            raise
        except OSError:
            raise
        except Exception as error:  # the quantizer has errors of its own
            return f"the export with 8-bit integers failed: {error}"

    def _tested(self, quantized: Shipped) -> Shipped:
        """Return a file in 8 bits with its accuracy on the test images, which the run's does not stand for."""
        engine = quantized.engine or self.request.engine
        return replace(quantized, tested=evaluate_file(self.request.out / quantized.file, self.run, engine))


def _is_faster(quantized: Shipped, shipped: Shipped) -> tuple[bool, str]:
    """Return whether a file in 8 bits has a lower latency than one in floats, and the figure in words."""
    if quantized.unmeasured:
        return False, f"the 8-bit file could not be measured in {quantized.engine}: {quantized.unmeasured}"
    latency = f"with 8-bit integers it takes {format_amount(LATENCY, quantized.used[LATENCY])} in {quantized.engine}"
    faster = quantized.used[LATENCY] < shipped.used[LATENCY]
    return faster, latency if faster else f"{latency}, which is not faster"


def _an_image(run: Run) -> np.ndarray:
    """Return a validation image of a run's data, 1 x C x H x W, uint8."""
    return with_channels(open_run_data(run, training=False).val.take(torch.tensor([0])), run.network.channels).numpy()


def _remove(exported: ExportResult) -> None:
    """Remove an exported file that is not used."""
    for each in (*exported.files, *filter(None, [exported.model_card])):
        each.unlink(missing_ok=True)
