"""The end of a design: the winner's test, its exported file and the dossier."""

import math
import shutil
import time
from dataclasses import replace

from convwright import json_text
from convwright.designing.context import DesignContext
from convwright.designing.dossier import winner_figures, write_dossier
from convwright.designing.judging import Judge
from convwright.designing.request import DesignRequest
from convwright.designing.reserve import USUAL_EXPORT_SECONDS
from convwright.designing.result import DesignResult
from convwright.designing.shipped_file import TORCH, Shipped, measure_in_torch
from convwright.designing.shipping import NOT_INSTALLED, can_export, ship
from convwright.designing.state import DECISIONS, DOSSIER, FEATURES, State
from convwright.designing.time_plan import DOSSIER_FACTOR
from convwright.designing.winner_record import ScoredImages
from convwright.errors import ConvwrightError, DataError, RunError, UsageError, WriteError
from convwright.evaluation.evaluating import evaluate_run
from convwright.evaluation.result import Evaluation
from convwright.files import write_text
from convwright.prediction.network import load
from convwright.reporting.measuring import measure_runs
from convwright.scaling.budget import LATENCY, format_need
from convwright.training.allocator import kept_memory
from convwright.training.run import Run

NO_FILE_DECISION = "no file is exported"
JUDGING_SHARE = 0.7
"""Share of the time that the dossier does not need in which the networks of the race predict test images."""
SCORING_SHARE = 0.4
"""Share of the time that is left in the end which the scores of class activation maps may take."""


def open_finished(request: DesignRequest, state: State, seconds: float) -> DesignResult | None:
    """Return a finished design from the files in its folder, without its images; None if a page is missing.

    An exported file that is missing is exported again, for which the images are needed.

    Args:
        request: The request.
        state: The state of the finished design.
        seconds: Time that the design took.

    Raises:
        RunError: The winner's run is damaged.
    """
    winner = state.winner
    if (
        winner is None
        or winner.tested is None
        or not all((request.out / name).is_file() for name in (DOSSIER, DECISIONS))
    ):
        return None
    run = Run.open(request.out / winner.run)
    shipped, problem = _existing_file(request, state, run)
    if problem:
        state.winner = replace(winner, file_problem=problem)  # not saved: the images may be back the next time
    result = DesignResult(request, state, run, winner.tested, shipped, seconds)
    if shipped is not None and shipped.to_dict() != state.shipped:
        state.shipped = shipped.to_dict()
        state.save()
        _write_decisions(result)
    return result


def _existing_file(request: DesignRequest, state: State, run: Run) -> tuple[Shipped | None, str]:
    """Return the exported file of a finished design, which is exported again if it is missing, or why there is none."""
    if not state.shipped:
        return None, ""
    shipped = Shipped.from_dict(state.shipped)
    if (request.out / shipped.file).is_file():
        return shipped, ""
    try:
        request.check_unchanged(state.fingerprint)
        seconds = math.inf if shipped.precision == "int8" else 0.0
        again, decisions = ship(run, request, seconds, tested=state.trained_winner.tested)
        if again.precision != shipped.precision:
            for decision, reason in decisions:
                state.decide("file", decision, f"exported again, as {shipped.file} was missing: {reason}")
        return again, ""
    except ConvwrightError as error:
        return None, f"{request.out / shipped.file} is missing, and could not be exported again: {error}"


def finish(context: DesignContext) -> DesignResult:
    """Measure the winner on the test images, export it and write the dossier, as far as that has not been done.

    Args:
        context: The design, whose winner is trained.

    Raises:
        RunError: The images have changed since the design began.
        ConvwrightError: Something cannot be written.
    """
    request, state, clock = context.request, context.state, context.clock
    request.check_unchanged(state.fingerprint)
    shutil.rmtree(request.out / FEATURES, ignore_errors=True)
    run = Run.open(request.out / state.trained_winner.run)
    started = time.monotonic()
    evaluation = evaluate_run(run, "test")
    if not isinstance(evaluation, Evaluation):
        raise UsageError("design needs images with one label each")
    image_seconds = (time.monotonic() - started) / evaluation.images
    tested = ScoredImages(round(evaluation.accuracy * evaluation.images), evaluation.images)
    state.winner = replace(state.trained_winner, tested=tested)
    state.save()
    end = state.end_measured
    dossier = end.dossier_seconds if end else DOSSIER_FACTOR * USUAL_EXPORT_SECONDS
    dossier += image_seconds * tested.images
    shipped = _ship(context, run, dossier)
    Judge(state, context.trainer, clock).run(JUDGING_SHARE * (clock.left - dossier))
    context.report("writing the dossier")
    measured = None if load(run).temperature != evaluation.temperature else evaluation  # the export calibrates the run
    result = DesignResult(request, state, run, tested, shipped, clock.passed, measured)
    with kept_memory():
        entries, _ = measure_runs([run], names=[state.winner.candidate])
        figures = winner_figures(entries[0], image_seconds, clock.left * SCORING_SHARE)
    write_dossier(request.out / DOSSIER, result, figures)
    result = replace(result, seconds=clock.save())
    _write_decisions(result)
    state.finished = True
    state.save()
    return result


def _write_decisions(result: DesignResult) -> None:
    write_text(result.request.out / DECISIONS, json_text.dump(result.to_dict(), indent=1) + "\n")


def _ship(context: DesignContext, run: Run, dossier_seconds: float) -> Shipped | None:
    """Return the exported file, which is written unless that has been done; None if it cannot be written.

    Args:
        context: The design.
        run: The winner.
        dossier_seconds: Seconds that the dossier needs.

    Raises:
        WriteError: The disk is full.
        DataError: The images cannot be opened.
        RunError: The run is damaged, or its images have changed.
    """
    state, request = context.state, context.request
    if state.shipped and (request.out / state.shipped["file"]).is_file():
        return Shipped.from_dict(state.shipped)
    if not can_export():
        _note_no_file(state, NOT_INSTALLED, _latency_without_file(request, run))
        return None
    context.report("exporting and verifying the file")
    try:
        tested = state.trained_winner.tested
        shipped, decisions = ship(run, request, context.clock.left, dossier_seconds, tested)
    except (WriteError, DataError, RunError):
        raise
    except ConvwrightError as error:
        _note_no_file(state, str(error), f"no file was exported: {error}")
        return None
    for decision, reason in decisions:
        state.decide("file", decision, reason)
    state.shipped = shipped.to_dict()
    state.save()
    return shipped


def _note_no_file(state: State, reason: str, problem: str) -> None:
    """Record that a design has no file.

    Args:
        state: The design.
        reason: Why it has none.
        problem: Why the design failed for that; empty if it did not.
    """
    state.winner = replace(state.trained_winner, no_file=reason, file_problem=problem)
    state.decide("file", NO_FILE_DECISION, reason)
    state.save()


def _latency_without_file(request: DesignRequest, run: Run) -> str:
    """Return why a design without a file does not keep its limit on latency; empty if it does, or has no limit."""
    limit = request.budget.latency if request.budget else None
    if limit is None:
        return ""
    if request.engine != TORCH:
        return f"the latency of the budget was not checked in {request.engine}: {NOT_INSTALLED}"
    seconds = measure_in_torch(run)
    if seconds <= limit:
        return ""
    return f"the network needs {format_need(LATENCY, seconds)} in torch, more than the budget allows ({request.budget})"
