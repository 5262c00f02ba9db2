"""The end of a design: the winner's test, its exported file and the dossier."""

import shutil
import time
from dataclasses import replace

from convwright import json_text
from convwright.designing.context import DesignContext
from convwright.designing.dossier import winner_figures, write_dossier
from convwright.designing.request import DesignRequest
from convwright.designing.result import DesignResult
from convwright.designing.shipping import ScoredImages, Shipped, can_export, ship
from convwright.designing.state import DECISIONS, DOSSIER, FEATURES, State
from convwright.errors import UsageError
from convwright.evaluation.evaluating import evaluate_run
from convwright.evaluation.result import Evaluation
from convwright.files import write_text
from convwright.reporting.measuring import measure_runs
from convwright.training.run import Run

SCORING_SHARE = 0.3
"""Share of the time that is left in the end which the scores of class activation maps may take."""


def open_finished(request: DesignRequest, state: State, seconds: float) -> DesignResult | None:
    """Return a finished design from the files in its folder, without its images; None if a file is missing.

    Args:
        request: The request.
        state: The state of the finished design.
        seconds: Time that the design took.

    Raises:
        RunError: The winner's run is damaged.
    """
    tested = state.winner.get("tested")
    if not tested or not all((request.out / name).is_file() for name in (DOSSIER, DECISIONS)):
        return None
    run = Run.open(request.out / state.winner["run"])
    shipped = Shipped.from_dict(state.shipped) if state.shipped else None
    return DesignResult(request, state, run, ScoredImages(**tested), shipped, seconds)


def finish(context: DesignContext) -> DesignResult:
    """Measure the winner on the test images, export it and write the dossier, as far as that has not been done.

    Args:
        context: The design, whose winner is trained.

    Raises:
        RunError: The images have changed since the design began.
        ConvwrightError: The file does not agree with the network, or something cannot be written.
    """
    request, state, clock = context.request, context.state, context.clock
    request.check_unchanged(state.fingerprint)
    shutil.rmtree(request.out / FEATURES, ignore_errors=True)
    run = Run.open(request.out / state.winner["run"])
    started = time.monotonic()
    evaluation = evaluate_run(run, "test")
    if not isinstance(evaluation, Evaluation):
        raise UsageError("design needs images with one label each")
    image_seconds = (time.monotonic() - started) / evaluation.images
    tested = ScoredImages(round(evaluation.accuracy * evaluation.images), evaluation.images)
    state.winner["tested"] = dict(vars(tested))
    state.save()
    shipped = _ship(context, run)
    context.report("writing the dossier")
    entries, _ = measure_runs([run], names=[state.winner["candidate"]])
    result = DesignResult(request, state, run, tested, shipped, clock.passed, evaluation)
    figures = winner_figures(entries[0], image_seconds, clock.left * SCORING_SHARE)
    write_dossier(request.out / DOSSIER, result, figures)
    result = replace(result, seconds=clock.save())
    write_text(request.out / DECISIONS, json_text.dump(result.to_dict(), indent=1) + "\n")
    state.finished = True
    state.save()
    return result


def _ship(context: DesignContext, run: Run) -> Shipped | None:
    """Return the exported file; it is written unless that has been done."""
    state = context.state
    if state.shipped:
        return Shipped.from_dict(state.shipped)
    if not can_export():
        state.decide(
            "file",
            "no file is exported",
            'onnx, and onnxruntime or openvino, are not installed: pip install "convwright[deploy]"',
        )
        return None
    context.report("exporting and verifying the file")
    shipped, decisions = ship(run, context.request)
    for decision, reason in decisions:
        state.decide("file", decision, reason)
    state.shipped = shipped.to_dict()
    state.save()
    return shipped
