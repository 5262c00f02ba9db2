"""The training loop.

A run is a function of its configuration and the step: stopped anywhere and resumed, it ends in the same weights.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, nullcontext, suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

from convwright.arch import Network
from convwright.data import Dataset, evaluation_batches
from convwright.errors import ConvwrightError, ImagesChangedError, NotFiniteError, OutOfMemoryError, RunError, warn
from convwright.training.callbacks import Callbacks, StartedRun, Step
from convwright.training.checkpoint_state import check_state, measured_summary, restoring, state_of
from convwright.training.config import TrainConfig
from convwright.training.devices import Devices, is_main_process
from convwright.training.evaluation import (
    SplitAccuracy,
    SplitPrecision,
    batch_for,
    evaluate,
    evaluate_multi_label,
)
from convwright.training.failures import explain_failure, is_out_of_memory
from convwright.training.frozen import features_of
from convwright.training.initial_weights import InitialWeights, initial_weights_file, initial_weights_of
from convwright.training.interrupt import Interrupted, StopSignal
from convwright.training.optim import learning_rate
from convwright.training.precision import DivergedError
from convwright.training.preparation import check_labelled, make_learner, training_batches
from convwright.training.process_state import preserved_process_state
from convwright.training.progress import Progress, Runtime
from convwright.training.records import DataFacts, Summary
from convwright.training.run import Run
from convwright.training.teacher import Teacher, teacher_file, teacher_of
from convwright.training.training_images import training_images_file
from convwright.training.validations import validation_steps

FINISH = 1000
"""Code for a stop requested by a callback; greater than all signal numbers."""


def train(
    config: TrainConfig,
    network: Network,
    data: Dataset,
    path: Path,
    callbacks: Sequence[object] = (),
    runtime: Runtime = Runtime(),
    files: Mapping[str, str | bytes] | None = None,
    initial: InitialWeights | None = None,
    teacher: Teacher | None = None,
) -> Summary:
    """Train a network into a new run directory, and return its summary.

    Args:
        config: The configuration.
        network: Network with the data's resolution, channels and classes.
        data: The images; they are normalised as the initial weights require.
        path: The run directory to make.
        callbacks: Objects with methods of `convwright.training.callbacks.Callback`.
        runtime: How the run is carried out.
        files: Content of further files of the run directory, by name.
        initial: Weights to start from; random ones by default.
        teacher: The network that the configuration names as teacher.

    Raises:
        RunError: There is something at `path` already.
        ConvwrightError: The run failed; the message says what would help.
        Interrupted: The run was stopped; it can be resumed.
    """
    called = Callbacks(callbacks)
    with preserved_process_state():
        check_labelled(data)
        data = initial.normalised(data) if initial else data
        devices = Devices(config)
        if devices.is_main:
            kept = {**(files or {}), **initial_weights_file(initial), **teacher_file(teacher)}
            kept |= training_images_file(data)
            Run.create(path, config, network, data.classes, DataFacts.of(data), kept)
        devices.wait()
        run = Run.open(path)
        with run.held() if devices.is_main else nullcontext():
            return Trainer(run, data, called, runtime, devices).fit()


def resume(run: Run, data: Dataset, callbacks: Sequence[object] = (), runtime: Runtime = Runtime()) -> Summary:
    """Continue a run from its last checkpoint, and return its summary.

    Args:
        run: The run.
        data: The images that it was trained on.
        callbacks: Objects with methods of `convwright.training.callbacks.Callback`.
        runtime: How the run is carried out.

    Raises:
        RunError: Data, configuration or network have changed since, or another process is training the run.
        ConvwrightError: The run failed; the message says what would help.
        Interrupted: The run was stopped; it can be resumed again.
    """
    called = Callbacks(callbacks)
    if run.finished:
        return run.summary
    if data.fingerprint != run.data.fingerprint:
        problem = run.data.difference(DataFacts.of(data))
        raise ImagesChangedError(
            f"{run.path}: the images of {run.config.data} are not those that the run was trained on: {problem}"
        )
    if DataFacts.of(data).crops_from != run.data.crops_from:
        raise RunError(
            f"{run.path}: its random crops were cut from images of another size; open its data with `resume`"
        )
    with preserved_process_state(), run.held() if is_main_process() else nullcontext():
        return Trainer(run, run.data.normalising(data), called, runtime).fit()


class Trainer:
    """A run that is being trained.

    Args:
        run: The run.
        data: Its images.
        callbacks: Objects that are called during training.
        runtime: How the run is carried out.
        devices: The processes that share the run.
    """

    def __init__(
        self,
        run: Run,
        data: Dataset,
        callbacks: Callbacks | None = None,
        runtime: Runtime = Runtime(),
        devices: Devices | None = None,
    ) -> None:
        config = run.config
        self.runtime, self.devices = runtime, devices or Devices(config)
        self.run, self.config, self.data = run, config, data
        self.seen = data
        """Source of the batches: the data, or the features that a frozen backbone computes from it."""
        self.callbacks = callbacks if callbacks and self.devices.is_main else Callbacks()
        self.finishing = False
        """Whether a callback ends the run before its last step."""
        self.written = False
        """Whether the summary has been written."""
        self.callback_error: Exception | None = None
        """The error of a callback that ended the run."""
        initial, teacher = initial_weights_of(run), teacher_of(run)
        self.learner = make_learner(config, run.network, data, self.devices, initial, teacher)
        self.batches = training_batches(config, data, self.devices)
        steps_per_epoch = self.batches.steps_per_epoch
        self.learner.frozen_steps = self.frozen_steps = round(config.recipe.freeze_epochs * steps_per_epoch)
        self.steps = self.frozen_steps + max(1, round(config.epochs * steps_per_epoch))
        once = runtime.validate_once
        validations = validation_steps(
            self.steps, self.frozen_steps, self.batches, len(data.val), once=once, on_features=config.recipe.freeze
        )
        self.frozen_validations, self.validations = validations
        self.progress = Progress()
        self.saved_at = time.monotonic()
        state = run.load_checkpoint()
        self._check_same_start(state)
        if state:
            self._restore(state)
        elif len(run.metrics) > 1:  # a run with two validations has saved a checkpoint
            raise RunError(
                f"{run.path / 'checkpoints'}: no readable checkpoint, so the run cannot be resumed; its best weights "
                f"stay in {run.weights}. Train anew with "
                f"`cw.train(config={str(run.path / 'config.yaml')!r}, out=new)`"
            )

    @property
    def ended(self) -> bool:
        """Whether all steps have been taken, or the run ends before its last step."""
        rows = self.progress.rows
        return bool(rows) and (rows[-1]["step"] >= self.steps or self.stopped_early)

    @property
    def stopped_early(self) -> bool:
        """Whether the run ends before its last step: a callback ends it, or the recipe's patience is exhausted."""
        rows, patience = self.progress.rows, self.config.recipe.patience
        if not rows or rows[-1]["step"] >= self.steps:
            return False
        # Validations of the frozen phase do not count: most of the run is still to come.
        since = len(rows) - 1 - max(self.progress.best, self.frozen_validations - 1)
        return self.finishing or (patience is not None and since >= patience)

    def fit(self) -> Summary:
        """Train to the end and return the summary.

        Raises:
            Interrupted: A signal stopped the run; a checkpoint was saved.
            OutOfMemoryError: The memory did not suffice; the message says what would fit.
            ConvwrightError: Another process of the run has ended.
        """
        try:
            return self._fit()
        except BaseException as error:
            if not self.written:
                with suppress(Exception):  # of a callback that was not even started
                    self.callbacks.call("on_stop")
            if error is self.callback_error:
                raise
            if reason := explain_failure(error, self.config, self.run.network, self.data, self.devices.size):
                if is_out_of_memory(error):
                    raise OutOfMemoryError(f"{self.run.path}: {reason}", reason.partition(";")[0]) from None
                raise ConvwrightError(f"{self.run.path}: {reason}") from None
            raise

    def _fit(self) -> Summary:
        progress = self.progress
        started = {each.name: getattr(self.run, each.name) for each in fields(Run)}
        self._call("on_start", StartedRun(**started, first_step=progress.step, steps=self.steps))
        with StopSignal() as stop:
            if self.learner.reads_features:
                self._read_features(stop)
            while not self.ended:
                self._train_until(self.validations[len(progress.rows)], stop)
                self._record_validation(self._validate(stop))
                self._unfreeze_in_time()
        if progress.best < 0:
            raise self._diverged_error("no validation had finite outputs")
        summary = self._summary()
        if self.devices.is_main:
            self.run.write_summary(summary)
        self.devices.wait()  # the others read the summary
        self.written = True
        self._call("on_end", summary)
        return summary

    def _train_until(self, end: int, stop: StopSignal) -> None:
        self.learner.train()
        with closing(self.batches.iterate(self.progress.step, end, self.runtime.workers)) as batches:
            started = time.monotonic()
            for step, (images, labels) in enumerate(batches, self.progress.step):
                try:
                    loss, correct = self.learner.train_step(images, labels, step, self.steps)
                except DivergedError as error:
                    raise self._diverged(error, step) from None
                now = time.monotonic()
                self.progress.count(len(labels), loss, correct, now - started)
                started = now
                self._call("on_step", Step(self.progress.step, self.steps, len(labels), loss))
                self._stop_if_requested(stop)
                if self.finishing:
                    return
                if now - self.saved_at > self.runtime.checkpoint_seconds:
                    self._save()

    def _read_features(self, stop: StopSignal) -> None:
        """Use the frozen backbone's features instead of the images."""

        def after_batch(done: int, total: int) -> None:
            self._call("on_prepare", done, total, "computing features")
            self._stop_if_requested(stop)

        learner = self.learner
        self.seen = features_of(learner.backbone, self.data, after_batch)
        self.batches = training_batches(self.config, self.seen)

    def _unfreeze_in_time(self) -> None:
        """Train all weights, on images, once the classifier has been trained and validated on features."""
        if self.frozen_steps and self.learner.head_only and len(self.progress.rows) >= self.frozen_validations:
            self.learner.unfreeze()
            self.seen = self.data
            self.batches = training_batches(self.config, self.data, self.devices)

    def _diverged(self, error: DivergedError, step: int) -> DivergedError:
        """Return the error with the images of the step that diverged.

        No checkpoint is made: normalisations have seen the images, so this is not the state before the step.
        """
        epoch, batch = divmod(step, self.batches.steps_per_epoch)
        place = f"at step {step}, batch {batch + 1} of epoch {epoch + 1} ({self.batches.describe(step)})"
        return self._diverged_error(f"{error} {place}")

    def _diverged_error(self, problem: str) -> DivergedError:
        """Return the error of a diverged run, with its last good state and what to try."""
        kept = self.run.newest_checkpoint
        return DivergedError(
            f"{problem}; "
            + (f"{kept.name} is the last good checkpoint; " if kept else "")
            + (f"the best weights so far are in {self.run.weights}; " if self.progress.rows else "")
            + f"try a lower learning rate than {self.config.recipe.learning_rate:g}, or `clip_norm=1`"
            + (", or `precision='bf16-mixed'`" if self.config.precision == "16-mixed" else "")
        )

    def _validate(self, stop: StopSignal) -> SplitAccuracy | SplitPrecision:
        batches = evaluation_batches(self.seen.val, self.seen, batch_for(self.run.network))
        device = self.learner.fabric.device
        measure: Callable[..., SplitAccuracy | SplitPrecision]
        measure = evaluate_multi_label if self.data.multi_label else evaluate
        try:
            return measure(self.learner.validated, batches, device, after_batch=lambda _: self._stop_if_requested(stop))
        except NotFiniteError as error:
            problem = f"validation after step {self.progress.step}: {error}"
            if self.progress.step >= self.steps:
                raise self._diverged_error(problem) from None
        # Running statistics can lag behind the weights for a while; training recovers from that.
        warn(f"{problem}; this validation is not counted")
        if self.data.multi_label:
            return SplitPrecision(math.nan, math.nan, len(self.data.val), ())
        return SplitAccuracy(math.nan, math.nan, len(self.data.val))

    def _record_validation(self, validation: SplitAccuracy | SplitPrecision) -> None:
        progress = self.progress
        row = {
            "epoch": round(progress.step / self.batches.steps_per_epoch, 4),
            "step": progress.step,
            "learning_rate": learning_rate(self.config.recipe, progress.step - 1, self.steps, self.frozen_steps),
            "train_loss": progress.loss / progress.images,
            **self._measures(validation),
            "images_per_second": progress.images / max(progress.seconds_since, 1e-9),
            "seconds": progress.seconds,
            **self.learner.precision.measures(),
        }
        if progress.add_validation(row) and self.devices.is_main:
            if isinstance(validation, SplitPrecision):
                self.run.write_thresholds(validation.thresholds)
            self.run.write_weights(self.learner.result)
        if self.devices.is_main:
            self.run.write_metrics(progress.rows)
        self._save()
        self._call("on_validation", row)
        self.finishing = bool(self.devices.largest(self.finishing or self.callbacks.stop_requested))

    def _measures(self, validation: SplitAccuracy | SplitPrecision) -> dict[str, float]:
        """Return the columns of metrics.csv that depend on the kind of labels."""
        if isinstance(validation, SplitPrecision):
            return {"val_loss": validation.loss, "val_map": validation.precision}
        return {
            "train_accuracy": self.progress.correct / self.progress.images,
            "val_loss": validation.loss,
            "val_accuracy": validation.accuracy,
        }

    def _call(self, hook: str, *arguments: object) -> None:
        """Call a hook of the callbacks. What has been trained is saved before an error of theirs ends the run."""
        try:
            self.callbacks.call(hook, *arguments)
        except Exception as error:
            self.callback_error = error
            if self.progress.step and not self.written:
                self._save()
            raise

    def _stop_if_requested(self, stop: StopSignal) -> None:
        """Save and raise where a signal stops the run, and note where a callback ends it; in all processes alike."""
        request = self.devices.largest(FINISH if self.callbacks.stop_requested else stop.requested)
        self.finishing = self.finishing or request == FINISH
        if self.finishing:
            return
        stop.requested = request
        if stop.requested:
            self._save()
            raise Interrupted(
                f"interrupted at step {self.progress.step} of {self.steps}; a checkpoint was saved; "
                f"resume with `cw.resume({str(self.run.path)!r})`",
                stop.requested,
            )

    def _save(self) -> None:
        self.saved_at = time.monotonic()
        if not self.devices.is_main:
            return
        self.run.save_checkpoint(self.progress.step, state_of(self.run, self.learner, self.progress))

    def _check_same_start(self, state: dict[str, Any] | None) -> None:
        """Check that all processes continue from the same checkpoint: their steps would be added up without an error.

        Raises:
            RunError: They do not, as a node has an older or a damaged copy.
        """
        step = int(state["progress"]["step"]) if state else -1
        first, last = -self.devices.largest(-step), self.devices.largest(step)
        if first != last:
            raise RunError(
                f"{self.run.path / 'checkpoints'}: a process would continue from step {max(first, 0)} and another one "
                f"from step {last}; wait until all nodes see the same files, and resume again"
            )

    def _restore(self, state: dict[str, Any]) -> None:
        """Continue from a checkpoint's state. RunError if the run directory has changed since, or it is no state."""
        with restoring(self.run):
            check_state(state, self.run)
            self.learner.network.load_state_dict(state["model"])
            if self.learner.average:
                self.learner.average.module.load_state_dict(state["average"])
            self.progress = Progress(**state["progress"])
            self._unfreeze_in_time()
            # A checkpoint of the last frozen step may hold the state of the optimizer before, which ends there.
            if not self.frozen_steps or self.learner.head_only or self.progress.step > self.frozen_steps:
                self.learner.optimizer.load_state_dict(state["optimizer"])
            self.learner.precision.load_state(state.get("precision"))

    def _summary(self) -> Summary:
        progress, precision = self.progress, self.learner.precision
        summary = Summary(
            **measured_summary(self.run, progress.rows[progress.best]),
            data=self.config.data,
            epochs=self.config.epochs,
            steps=progress.step,
            stopped_early=self.stopped_early,
            val_images=len(self.data.val),
            train_seconds=round(progress.seconds, 2),
            device=str(self.learner.fabric.device),
            devices=self.devices.size,
        )
        return summary.model_copy(update={"skipped_steps": precision.skipped}) if precision.scaler else summary
