"""What a network does not know, as outputs of an exported file."""

import numpy as np

from convwright.engines.parts import ENERGY, KNOWN, LIMITS, LOGITS, PREDICTION_SET, PROBABILITIES
from convwright.exporting.agreement import CheckImages
from convwright.exporting.joining import After
from convwright.exporting.onnx_terms import Formulas
from convwright.exporting.verification import VerifiedEngines
from convwright.stats.limits import FEWEST, Limits, fit_limits

COVERAGE = 0.9
"""Coverage of the prediction sets that a file returns."""


def limits_outputs(limits: Limits, classes: int) -> After:
    """Return the nodes from the logits to calibrated probabilities, prediction set, energy, and whether it is low.

    Args:
        limits: Temperature and thresholds.
        classes: Number of classes.
    """
    to = Formulas(LIMITS)
    logits = to.value(LOGITS, np.float32)
    probabilities = to.node("Softmax", [logits / limits.temperature], output=PROBABILITIES, axis=1)
    least = to.constant(limits.threshold(COVERAGE), np.float32)
    to.node("GreaterOrEqual", [probabilities, least], np.bool_, output=PREDICTION_SET)
    # Minus the logarithm of the sum of exponentials: what the logarithm of the softmax subtracts from any logit.
    first = to.constant(0, np.int64)
    shifted = to.node("LogSoftmax", [logits], axis=1).apply("Gather", first, axis=1)
    energy = to.node("Sub", [shifted, logits.apply("Gather", first, axis=1)], output=ENERGY)
    to.node("LessOrEqual", [energy, to.constant(limits.energy, np.float32)], np.bool_, output=KNOWN)
    rows: tuple[str | int, ...] = ("batch",)
    ports = [
        (PROBABILITIES, np.float32, (*rows, classes)),
        (PREDICTION_SET, np.bool_, (*rows, classes)),
        (ENERGY, np.float32, rows),
        (KNOWN, np.bool_, rows),
    ]
    return After(to, ports)


def fitted_limits(check: CheckImages, verified: VerifiedEngines) -> Limits | None:
    """Return limits fitted on the logits of an exported network.

    Args:
        check: The images that it was verified on.
        verified: Engines that agree with the network, with their logits; the first one's are used.

    Returns:
        The limits; None for multi-label networks, and where there are no labels or too few images.
    """
    if check.labels is None or check.thresholds is not None or len(check.labels) < FEWEST:
        return None
    logits = next(iter(verified.runs.values())).logits
    return fit_limits(logits, check.labels) if logits.shape[1] > 1 else None
