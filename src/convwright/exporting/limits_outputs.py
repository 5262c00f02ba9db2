"""What a network does not know, as outputs of an exported file."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from convwright.engines.card_reading import read_card
from convwright.engines.own import OWN_ENGINES
from convwright.engines.parts import ENERGY, KNOWN, LIMITS, LOGITS, OOD_SCORE, PREDICTION_SET, PROBABILITIES
from convwright.engines.program import Connect, Mean, Program
from convwright.engines.scored import open_scored
from convwright.errors import ConvwrightError
from convwright.exporting.agreement import BATCH, CheckImages
from convwright.exporting.joining import After
from convwright.exporting.onnx_terms import Formulas, Term
from convwright.exporting.verification import VerifiedEngines
from convwright.prediction.features import features_and_logits
from convwright.prediction.network import Predictor
from convwright.prediction.stored_limits import NetworkLimits
from convwright.stats.limits import FEWEST, Limits, fit_limits, known_threshold
from convwright.stats.ood import OodModel

COVERAGE = 0.9
"""Coverage of the prediction sets that a file returns."""


FEATURES = LIMITS + "features"
"""Name that stands for the last feature maps, or what the last linear layer reads, in the nodes of this part."""
SCORED = 12
"""Images on which scores are verified."""
TOLERANCE = 0.01
"""Largest difference of an out-of-distribution score in float, as a share of the score, or of 1 for smaller ones."""


def limits_outputs(limits: Limits, program: Program, ood: OodModel | None) -> After:
    """Return the nodes from the logits to what a network does not know.

    Args:
        limits: Temperature and thresholds.
        program: The network.
        ood: What the out-of-distribution score is computed from; None: the energy decides whether an image is known.
    """
    to, classes = Formulas(LIMITS), program.classes
    logits = to.value(LOGITS, np.float32)
    probabilities = to.node("Softmax", [logits / limits.temperature], output=PROBABILITIES, axis=1)
    least = to.constant(limits.threshold(COVERAGE), np.float32)
    to.node("GreaterOrEqual", [probabilities, least], np.bool_, output=PREDICTION_SET)
    # Minus the logarithm of the sum of exponentials: what the logarithm of the softmax subtracts from any logit.
    first = to.constant(0, np.int64)
    shifted = to.node("LogSoftmax", [logits], axis=1).apply("Gather", first, axis=1)
    energies = to.node("Sub", [shifted, logits.apply("Gather", first, axis=1)], output=ENERGY)
    decides, most = energies, limits.energy
    rows: tuple[str | int, ...] = ("batch",)
    ports = [
        (PROBABILITIES, np.float32, (*rows, classes)),
        (PREDICTION_SET, np.bool_, (*rows, classes)),
        (ENERGY, np.float32, rows),
    ]
    pooling, shape = "", tuple[str | int, ...]()
    if ood is not None and limits.ood_score is not None:
        features = to.value(FEATURES, np.float32)
        pooling, shape = _pooling(program, ood), (*rows, ood.components.shape[1])
        if pooling:
            shape = (*rows, "channels", "height", "width")
            means = features.apply("GlobalAveragePool")
            apart = features - means
            spread = (apart * apart).apply("GlobalAveragePool").apply("Sqrt")
            features = to.join([means, spread], axis=1).reshape([0, -1])
        decides, most = _score(ood, features, energies), limits.ood_score
        ports.append((OOD_SCORE, np.float32, rows))
    to.node("LessOrEqual", [decides, to.constant(most, np.float32)], np.bool_, output=KNOWN)
    ports.append((KNOWN, np.bool_, rows))
    return After(to, ports, FEATURES if shape else "", shape, pooling)


def _pooling(program: Program, ood: OodModel) -> str:
    """Return the path of the pooling whose input is scored; empty where what the last linear layer reads is scored.

    Raises:
        ConvwrightError: The network has neither.
    """
    linear = program.makers()[program.output]
    pooling = program.makers().get(linear.inputs[0])
    if isinstance(linear, Connect):
        features = linear.weight.shape[1]
        if ood.components.shape[1] == features:
            return ""
        if isinstance(pooling, Mean) and ood.components.shape[1] == 2 * features:
            return pooling.path
    raise ConvwrightError("the features of the out-of-distribution score are not in the file; export without `limits`")


def _score(ood: OodModel, features: Term, energies: Term) -> Term:
    """Return the out-of-distribution scores, as `OodModel.scores` computes them."""
    to = features.to
    rows = features.abs().apply("Sqrt") * features.apply("Sign") - to.constant(ood.centre, np.float32)
    found = rows.matmul(to.constant(ood.components.T, np.float32))
    if ood.has_residual:
        rest = rows - found.matmul(to.constant(ood.components, np.float32))
        found = to.join([found, (rest * rest).sum([1], keep=True).apply("Sqrt")], axis=1)
    white = found.matmul(to.constant(ood.whitening.T, np.float32))
    white = to.node("Unsqueeze", [white, to.constant([1], np.int64)])
    apart = white - to.constant(ood.means[None], np.float32)
    distances = (apart * apart).sum([2], keep=False).apply("Sqrt")
    nearest = to.node("ArgMin", [distances], np.int64, axis=1, keepdims=1)
    distance = distances.apply("GatherElements", nearest, axis=1)
    if ood.combination is None:
        return to.node("Reshape", [distance, to.constant([-1], np.int64)], output=OOD_SCORE)
    _, *numbers = (float(number) for number in ood.combination)
    parts = [(distance.reshape([-1]) - numbers[0]) / numbers[1], (energies - numbers[2]) / numbers[3]]
    kind, inputs = {"larger": ("Max", parts), "sum": ("Add", parts), "energy": ("Identity", parts[1:])}[ood.rule]
    return to.node(kind, inputs, output=OOD_SCORE)


def limits_of_file(
    found: NetworkLimits, check: CheckImages, verified: VerifiedEngines, *, quantized: bool
) -> NetworkLimits | None:
    """Return the limits of an exported network: those of the network, but in 8 bits fitted on the file's own logits.

    Args:
        found: Limits of the network, and what its out-of-distribution score is computed from.
        check: The images that the file was verified on.
        verified: Engines that agree with the network, with their logits; the first one's are used.
        quantized: Whether the file is in 8 bits.

    Returns:
        The limits; None for a file in 8 bits where there are no labels or too few images.
    """
    if not quantized:
        return found
    if check.labels is None or len(check.labels) < FEWEST:
        return None
    fitted, ood = fit_limits(next(iter(verified.runs.values())).logits, check.labels), found[1]
    return replace(fitted, ood_score=found[0].ood_score, ood_rule=found[0].ood_rule), ood


def verified_score(
    path: Path, predictor: Predictor, ood: OodModel, limits: Limits, check: CheckImages, engines: list[str]
) -> Limits:
    """Compare the scores of a written file with those of torch; return limits, in 8 bits with its own threshold.

    Args:
        path: The file.
        predictor: The network.
        ood: What its scores are computed from.
        limits: Limits of the file.
        check: Held-out images.
        engines: Engines that agree with the network; in 8 bits the first of Convwright's own sets the threshold.

    Returns:
        The limits; without a threshold where the scores of a network in float differ: where its features hardly differ
        between images, rounding decides about the score.
    """
    images, threshold, precision = check.images, limits.ood_score, read_card(path).precision
    features, logits = features_and_logits(predictor, torch.from_numpy(images[:SCORED]))
    assert features is not None
    expected = ood.scores(features, logits)
    sizes = np.maximum(np.abs(expected), 1)  # those of combinations may be 0
    for index, name in enumerate(engine for engine in engines if engine in OWN_ENGINES):
        run = open_scored(path, name)
        assert run is not None
        difference = float((np.abs(run(np.ascontiguousarray(images[:SCORED]))[1] - expected) / sizes).max())
        if precision == "f32" and not difference <= TOLERANCE:
            return replace(limits, ood_score=None, ood_rule=None)
        if index == 0 and precision != "f32":
            parts = [run(np.ascontiguousarray(images[at : at + BATCH]))[1] for at in range(0, len(images), BATCH)]
            threshold = known_threshold(np.concatenate(parts))
    return replace(limits, ood_score=threshold)
