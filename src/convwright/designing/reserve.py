"""The time that is kept for the end of a design: measured in the design, and more where the machine becomes busy."""

import tempfile
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from convwright.designing.candidates import Candidate
from convwright.designing.context import DesignContext
from convwright.designing.file_export import VERIFIED_IMAGES, write_file
from convwright.designing.shipped_file import TORCH
from convwright.designing.shipping import can_export
from convwright.designing.speed import prediction_seconds
from convwright.designing.state import EndMeasurements
from convwright.designing.time_plan import DOSSIER_FACTOR, EndCosts, TimePlan
from convwright.designing.trials import Trial
from convwright.errors import ConvwrightError
from convwright.prediction.features import MOST_ALTERED, MOST_TRAINING
from convwright.prediction.run_limits import MOST_HELD
from convwright.stats.ood_selection import FAR, NEAR
from convwright.training.callbacks import Callback, StartedRun, Step
from convwright.training.devices import training_device
from convwright.training.run import Run

WINDOW, WINDOWS = 4.0, 3
"""Seconds of a period in which the waiting of this process is measured, and number of the periods that count."""
MAX_WAITING = 8.0
"""Largest factor of waiting that counts: more is a stop of the machine, which ends."""
USUAL_EXPORT_SECONDS = 4.0
"""Seconds of an export that failed when it was measured, and may succeed with other weights."""
TEST_EXPORT_SHARE = 0.05
"""Largest share of a design's time that the predictions of an export may take for it to be run as a test; the time of a
longer one is estimated, as a test would take much of the time of the training."""
FIXED_SECONDS, PREDICTION_FACTOR = 6.0, 1.5
"""Estimated seconds of an export: a fixed part on an idle machine, plus this factor times the time of predictions."""
VERIFICATIONS = 5
"""How often an export predicts the images on which it is verified: in torch, in each engine, and for its limits."""


class Waiting(Callback):
    """Measures by how much other programs slow down the thread that trains."""

    def __init__(self) -> None:
        self._factors: deque[float] = deque(maxlen=WINDOWS)
        self._restart()

    def _restart(self) -> None:
        self._wall, self._computed = time.monotonic(), time.thread_time()

    def on_start(self, run: StartedRun) -> None:
        """Measure from now on: while images were read, this thread may have waited for others of this process."""
        self._restart()

    def on_step(self, step: Step) -> None:
        """End a period of measurement if it is long enough."""
        seconds = time.monotonic() - self._wall
        if seconds >= WINDOW:
            self._factors.append(waiting_factor(seconds, time.thread_time() - self._computed))
            self._restart()

    @property
    def factor(self) -> float:
        """Time by computing time, 1 or more: the median of the last periods, as a single one may have a short stall."""
        return median(self._factors) if self.known else 1.0

    @property
    def known(self) -> bool:
        """Whether enough periods have been measured."""
        return len(self._factors) == WINDOWS


def waiting_factor(seconds: float, computed: float) -> float:
    """Return the factor between the seconds that work took, and those that its thread computed: 1 or more.

    Args:
        seconds: Seconds that the work took.
        computed: Seconds of processor time of its thread.
    """
    return min(MAX_WAITING, max(1.0, seconds / max(computed, 1e-9)))


@dataclass
class Reserve:
    """Measures what the end of a design needs, and gives the time at which training must end.

    Args:
        context: The design.
        plan: The division of its time.
        best: The trial that won the race, in which the speed of predictions was measured.
        opening_seconds: Seconds in which the images were opened and compared just now.
    """

    context: DesignContext
    plan: TimePlan
    best: Trial
    opening_seconds: float = 0.0
    waiting: Waiting = field(default_factory=Waiting, init=False)
    _predictions: dict[str, float] = field(default_factory=dict, init=False)

    def measure(self) -> None:
        """Measure or estimate the export time of the race's best network, once for a design.

        A file is written and verified if this takes a small part of the design's time.
        """
        context, state = self.context, self.context.state
        if state.end_measured is not None or not can_export():
            return
        predictions = self._predictions_of_export * self.best.image_seconds
        if self._estimated:
            waiting = self._waiting_now()
            fixed = FIXED_SECONDS * waiting
            state.end_measured = EndMeasurements(fixed + PREDICTION_FACTOR * predictions, waiting, fixed)
            state.save()
            return
        wall, computed = time.monotonic(), time.thread_time()
        failed = True
        with suppress(ConvwrightError), tempfile.TemporaryDirectory(dir=context.request.out) as folder:
            write_file(Run.open(context.request.out / self.best.run), Path(folder) / "network.onnx")
            failed = False
        seconds = time.monotonic() - wall
        waiting = waiting_factor(seconds, time.thread_time() - computed)
        seconds = max(seconds, USUAL_EXPORT_SECONDS) if failed else seconds
        fixed = max(min(seconds, USUAL_EXPORT_SECONDS), seconds - predictions)
        state.end_measured = EndMeasurements(seconds, waiting, fixed)
        state.save()

    @property
    def _estimated(self) -> bool:
        """Whether the export is estimated, as its predictions would take too long to run it as a test."""
        predictions = self._predictions_of_export * self.best.image_seconds
        return predictions > TEST_EXPORT_SHARE * self.context.request.seconds

    def _waiting_now(self) -> float:
        """Return by how much other programs slow down this thread, measured in predictions of the best network."""
        wall, computed = time.monotonic(), time.thread_time()
        prediction_seconds(self.context.state.candidate(self.best.candidate).network)
        return waiting_factor(time.monotonic() - wall, time.thread_time() - computed)

    @property
    def _predictions_of_export(self) -> int:
        """Number of predictions in an export, each of an image."""
        data = self.context.dataset
        verified = VERIFICATIONS * min(VERIFIED_IMAGES, len(data.val))
        verified += min(MOST_HELD, len(data.val)) + min(MOST_TRAINING, len(data.train))
        return verified + len(NEAR + FAR) * min(MOST_ALTERED, VERIFIED_IMAGES, len(data.val))

    def costs(self, candidate: Candidate) -> EndCosts:
        """Return what the end needs with a winner.

        Args:
            candidate: The winner at the resolution of its training.
        """
        context, data = self.context, self.context.dataset
        raced = image = self.best.image_seconds
        if candidate.network != context.state.candidate(self.best.candidate).network:
            image = max(raced, self._prediction_seconds(candidate))
        measured = context.state.end_measured
        export, dossier = 0.0, DOSSIER_FACTOR * USUAL_EXPORT_SECONDS
        if measured is not None:
            factor = PREDICTION_FACTOR if self._estimated else 1.0
            export = measured.export_seconds + factor * self._predictions_of_export * (image - raced)
            dossier = measured.dossier_seconds
        test = 0 if data.test is None else len(data.test)
        int8 = context.request.engine != TORCH
        return EndCosts(image, len(data.val), test, export, dossier, self.opening_seconds, int8)

    def _prediction_seconds(self, candidate: Candidate) -> float:
        """Return the seconds in which a candidate predicts an image, which are measured once."""
        if candidate.name not in self._predictions:
            self._predictions[candidate.name] = prediction_seconds(candidate.network)
        return self._predictions[candidate.name]

    def limit_of(self, candidate: Candidate) -> Callable[[], float]:
        """Return a function that computes the second of the design at which training must end, from the current load.

        A machine that has become busier since the measurement needs more time for the end. Of the time that one which
        has become idle would save, only half is used, as it may become busy again.
        """
        costs, seconds = self.costs(candidate), self.context.clock.seconds
        measured = self.context.state.end_measured
        if measured is None or training_device().type != "cpu":  # this thread waits for the device
            return lambda: seconds - self.plan.end(costs)

        def limit() -> float:
            change = self.waiting.factor / measured.waiting if self.waiting.known else 1.0
            return seconds - self.plan.end(costs, change if change >= 1 else (1 + change) / 2)

        return limit
