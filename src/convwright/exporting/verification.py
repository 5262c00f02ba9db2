"""Verification of an exported file: run in every installed engine and compared with the original network."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from convwright.display.wording import counted
from convwright.engines.card import Card, EngineCheck
from convwright.engines.own import OWN_ENGINES
from convwright.engines.registry import engines_reading, open_file
from convwright.errors import ConvwrightError, NotFiniteError
from convwright.exporting.agreement import Agreement, CheckImages, compare, logits_of
from convwright.exporting.quantization import FloatLayers
from convwright.exporting.writing import Progress
from convwright.extras import require_package
from convwright.timing import measure_call

FEW = 4
"""Images on which the final file is verified once more, one at a time."""


@dataclass(frozen=True)
class WholeCheck:
    """How a whole file, from its own input to all its outputs, agrees with Pillow's resizing and the same network."""

    count: int
    """Number of images, of several sizes where the input is an image."""
    difference: float
    """Largest difference of a probability."""
    same: float
    """Share of images with the same prediction."""
    milliseconds: float
    """Median time of an image, with its resizing and all outputs."""
    map_difference: float | None = None
    """Largest difference of an activation map, as a share of its largest value; None where there is none."""

    def to_dict(self) -> dict[str, object]:
        """Return the figures for JSON."""
        of_map = {} if self.map_difference is None else {"map_difference": self.map_difference}
        return {
            "whole_images": self.count,
            "whole_difference": self.difference,
            "whole_same": self.same,
            "whole_milliseconds": round(self.milliseconds, 3),
            **of_map,
        }


@dataclass(frozen=True, eq=False)
class EngineRun:
    """A file in one engine."""

    logits: np.ndarray
    """Logits of all images, `N x classes`."""
    singly: np.ndarray
    """Logits of the first `FEW` images, run one at a time."""
    milliseconds: float
    """Time of one image, with as many threads as cores; see `image_seconds`."""
    whole: WholeCheck | None = None
    """How well the whole file agrees; None where it holds the network alone."""


@dataclass(frozen=True)
class VerifiedEngines:
    """Engines that agree with the original, and the reasons why others do not run the file."""

    runs: dict[str, EngineRun]
    agreements: dict[str, Agreement]
    problems: dict[str, str]
    """Installed engines that are not used for the file, and why."""


def installed_readers(suffix: str) -> list[str]:
    """Return the names of the installed engines that run files with a suffix.

    Raises:
        UsageError: There is none to verify a file with.
    """
    readers = [engine.name for engine in engines_reading(suffix, only_installed=True)]
    if not readers:
        require_package(engines_reading(suffix)[0].package, f"verifying a {suffix} file")
    return readers


def verify(
    path: Path, out: Path, check: CheckImages, expected: np.ndarray, left: FloatLayers | None, progress: Progress
) -> VerifiedEngines:
    """Run a file in every installed engine and compare its logits with those of the original network.

    Args:
        path: The file.
        out: Name that the file will have, for error messages.
        check: Images to compare on.
        expected: Logits of the original, `N x classes`.
        left: What quantization left in float; None for a file in float, which must agree up to rounding.
        progress: Gets a description of each step.

    Raises:
        ConvwrightError: One of Convwright's own engines does not agree, or no engine could run the file.
    """
    runs: dict[str, EngineRun] = {}
    agreements: dict[str, Agreement] = {}
    problems: dict[str, str] = {}
    for name in installed_readers(path.suffix):
        progress(f"verifying with {name}")
        own = name in OWN_ENGINES and OWN_ENGINES[name].by_default
        try:
            engine_run = _engine_run(path, name, check)
        except NotFiniteError as error:
            if own:
                raise ConvwrightError(f"{out} was not written: with engine {name}, {error}") from None
            problems[name] = str(error)
            continue
        except Exception as error:  # every engine has errors of its own, and another engine may run the file
            first = (str(error).strip() or type(error).__name__).splitlines()[0]
            problems[name] = first.replace(str(path), str(out))[:300]
            continue
        agreement = compare(expected, engine_run.logits, check.labels, check.thresholds)
        if fault := _disagreement(agreement, left):
            if own:
                raise ConvwrightError(f"{out} was not written: in {name} {fault}")
            problems[name] = fault
            continue
        runs[name], agreements[name] = engine_run, agreement
    if not runs:
        raise ConvwrightError(f"{out} was not written: {'; '.join(problems.values())}")
    return VerifiedEngines(runs, agreements, problems)


def verify_again(
    path: Path,
    out: Path,
    verified: VerifiedEngines,
    check: CheckImages,
    expected: np.ndarray,
    left: FloatLayers | None,
) -> None:
    """Run the final file, which has the record of the verification in its card, on a few images one at a time.

    Raises:
        ConvwrightError: It does not predict what it predicted before.
    """
    for name, engine_run in verified.runs.items():
        again = logits_of(open_file(path, name).run, check.images[:FEW], 1)
        before = expected[:FEW] if left is None else engine_run.singly
        if not compare(before, again, None, check.thresholds).within_rounding:
            raise ConvwrightError(
                f"{out} was not written: {name} gives different outputs for the final file, one image at a time"
            )


def with_record(card: Card, check: CheckImages, verified: VerifiedEngines, left: FloatLayers | None) -> Card:
    """Return a card with the record of a verification; of a quantized network with what it shows about the loss."""

    def details(agreement: Agreement, whole: WholeCheck | None) -> dict[str, object]:
        drop = {"max_drop": left.max_drop, "drop": left.verdict(agreement).value} if left else {}
        return agreement.to_dict() | drop | {"threads": "all"} | (whole.to_dict() if whole else {})

    engines = {
        name: EngineCheck(round(engine_run.milliseconds, 3), details(verified.agreements[name], engine_run.whole))
        for name, engine_run in verified.runs.items()
    }
    record = replace(card.verified, on=check.description, images=len(check.images), engines=engines)
    return replace(card, verified=record)


def image_seconds(work: Callable[[], object]) -> float:
    """Return the time of a call for one image; on a busy machine that of its fastest run."""
    return measure_call(work, at_least=3, at_most=3).estimate


def _engine_run(path: Path, engine: str, check: CheckImages) -> EngineRun:
    run = open_file(path, engine).run
    logits, singly = logits_of(run, check.images), logits_of(run, check.images[:FEW], 1)
    image = check.images[:1]
    return EngineRun(logits, singly, 1000 * image_seconds(lambda: run(image)))


def _disagreement(agreement: Agreement, left: FloatLayers | None) -> str:
    """Return in what an engine does not agree with the original; empty if it agrees."""
    if left is not None:
        return left.refusal(agreement)
    if agreement.within_rounding:
        return ""
    return (
        f"its logits differ from the network's by up to {agreement.difference:.2g} of an image's largest, and "
        f"{agreement.changed:.1%} of the predictions, on {counted(agreement.images, 'image')}"
    )
