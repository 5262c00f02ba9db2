"""The training loop. A run is a function of its configuration and the step: stopped anywhere and resumed, it
ends in the same weights."""

import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn

import convwright
from convwright.arch import Network, cost
from convwright.data import Augmentation, Batches, Dataset, evaluation_batches
from convwright.errors import ConvwrightError, RunError
from convwright.modules import build
from convwright.seeds import derive
from convwright.training.config import TrainConfig
from convwright.training.evaluation import Evaluation, evaluate
from convwright.training.interrupt import Interrupted, StopSignal
from convwright.training.optim import learning_rate, make_optimizer
from convwright.training.run import DataFacts, Run
from convwright.weights import save_weights

EVALUATION_BATCH = 256
SECONDS_BETWEEN_CHECKPOINTS = 300.0


class Reporter:
    """Is told how a run goes; this one keeps it to itself."""

    def begin(self, run: Run, done: int, total: int) -> None:
        """Training is about to start at step `done` of `total`."""

    def step(self, step: int, images: int, loss: float) -> None:
        """A training step has been taken."""

    def epoch(self, row: dict[str, float]) -> None:
        """An epoch has been trained and validated; `row` is its line of metrics.csv."""


@dataclass
class Progress:
    """How far a run has come: all of its state but weights and optimizer."""

    epoch: int = 0
    """Epochs that have been trained and validated."""
    step: int = 0
    loss: float = 0.0
    correct: int = 0
    images: int = 0
    """Sums over the steps of the epoch under way."""
    epoch_seconds: float = 0.0
    seconds: float = 0.0
    best_epoch: int = 0
    """The epoch (from 1) of the highest validation accuracy, of the lowest loss among equals."""
    rows: list[dict[str, float]] = field(default_factory=list)

    def end_epoch(self, row: dict[str, float]) -> None:
        """Close the epoch under way."""
        self.rows.append(row)
        self.epoch += 1
        self.loss, self.correct, self.images, self.epoch_seconds = 0.0, 0, 0, 0.0


def train(
    config: TrainConfig, network: Network, data: Dataset, path: Path, reporter: Reporter | None = None
) -> dict[str, Any]:
    """Train a network from scratch into a new run directory; return its summary.

    `network` must already have the data's resolution, channels and classes.
    """
    return Trainer(Run.create(path, config, network, data.classes, DataFacts.of(data)), data, reporter).fit()


def resume(run: Run, data: Dataset, reporter: Reporter | None = None) -> dict[str, Any]:
    """Go on with a run where it stopped; return its summary. RunError if its data has changed since."""
    if run.finished:
        return run.summary
    if data.fingerprint != run.data.fingerprint:
        raise RunError(f"{run.path}: the images of {run.config.data} are not those that the run began with")
    return Trainer(run, data, reporter).fit()


class Trainer:
    """One run under way."""

    def __init__(self, run: Run, data: Dataset, reporter: Reporter | None = None) -> None:
        config = run.config
        self.run, self.config, self.recipe, self.data = run, config, config.recipe, data
        self.reporter = reporter or Reporter()
        self.fabric = Fabric(accelerator="auto", devices=1, precision=config.precision)
        module = build(run.network, seed=derive(config.seed, "init"))
        _set_norm_momentum(module, self.recipe.norm_momentum)
        self.plain_module = module
        self.module, self.optimizer = self.fabric.setup(module, make_optimizer(module, self.recipe))
        augmentation = Augmentation(crop=self.recipe.crop, flip=self.recipe.flip)
        self.batches = Batches(data.train, data, config.batch_size, config.seed, augmentation)
        self.steps = config.epochs * self.batches.steps_per_epoch
        self.progress = Progress()
        self.saved_at = time.monotonic()
        if state := run.load_checkpoint():
            self.module.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.progress = Progress(**state["progress"])

    def fit(self) -> dict[str, Any]:
        """Train to the end and return the summary. Interrupted if stopped: nothing is lost then."""
        progress = self.progress
        self.reporter.begin(self.run, progress.step, self.steps)
        with StopSignal() as stop:
            while progress.epoch < self.config.epochs:
                self._train_epoch(stop)
                self._end_epoch(self._validate(stop))
        summary = self._summary()
        self.run.write_summary(summary)
        return summary

    def _train_epoch(self, stop: StopSignal) -> None:
        progress = self.progress
        end = (progress.epoch + 1) * self.batches.steps_per_epoch
        self.module.train()
        started = time.monotonic()
        for step, images, labels in self.batches.iterate(progress.step, end):
            loss, correct = self._step(step, images, labels)
            now = time.monotonic()
            progress.step = step + 1
            progress.loss += loss * len(labels)
            progress.correct += correct
            progress.images += len(labels)
            progress.epoch_seconds += now - started
            progress.seconds += now - started
            started = now
            self.reporter.step(progress.step, len(labels), loss)
            self._halt_if(stop)
            if now - self.saved_at > SECONDS_BETWEEN_CHECKPOINTS:
                self._save()

    def _step(self, step: int, images: torch.Tensor, labels: torch.Tensor) -> tuple[float, int]:
        """Learn from one batch; return its mean loss and how many images were right."""
        torch.manual_seed(derive(self.config.seed, "noise", step))  # dropout and stochastic depth
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.recipe, step, self.steps)
        images, labels = self.fabric.to_device((images, labels))
        self.optimizer.zero_grad(set_to_none=True)
        logits = self.module(images)
        loss = nn.functional.cross_entropy(logits, labels, label_smoothing=self.recipe.label_smoothing)
        value = loss.item()
        if not value < float("inf"):  # NaN compares false with everything
            raise ConvwrightError(
                f"the loss became {value} at step {step}; try a lower learning rate than "
                f"{self.recipe.learning_rate:g}; the best weights before are in {self.run.weights}"
            )
        self.fabric.backward(loss)
        if self.recipe.clip_norm:
            self.fabric.clip_gradients(self.module, self.optimizer, max_norm=self.recipe.clip_norm)
        self.optimizer.step()
        return value, int((logits.detach().argmax(1) == labels).sum())

    def _validate(self, stop: StopSignal) -> Evaluation:
        batches = evaluation_batches(self.data.val, self.data, EVALUATION_BATCH)
        return evaluate(self.module, batches, self.fabric.device, after_batch=lambda _: self._halt_if(stop))

    def _end_epoch(self, validation: Evaluation) -> None:
        progress = self.progress
        row = {
            "epoch": progress.epoch + 1,
            "step": progress.step,
            "learning_rate": learning_rate(self.recipe, progress.step - 1, self.steps),
            "train_loss": progress.loss / progress.images,
            "train_accuracy": progress.correct / progress.images,
            "val_loss": validation.loss,
            "val_accuracy": validation.accuracy,
            "images_per_second": progress.images / max(progress.epoch_seconds, 1e-9),
            "seconds": progress.seconds,
        }
        progress.end_epoch(row)
        if not progress.best_epoch or _quality(row) > _quality(progress.rows[progress.best_epoch - 1]):
            progress.best_epoch = progress.epoch
            save_weights(self.plain_module, self.run.weights, {"epoch": str(progress.epoch)})
        self.run.write_metrics(progress.rows)
        self._save()
        self.reporter.epoch(row)

    def _halt_if(self, stop: StopSignal) -> None:
        if stop.requested:
            self._save()
            raise Interrupted(
                f"interrupted at step {self.progress.step} of {self.steps}, nothing is lost; "
                f"go on with: convwright train --resume {self.run.path}"
            )

    def _save(self) -> None:
        state = {
            "model": self.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "progress": asdict(self.progress),
        }
        self.run.save_checkpoint(self.progress.step, state)
        self.saved_at = time.monotonic()

    def _summary(self) -> dict[str, Any]:
        progress, count = self.progress, cost(self.run.network)
        best = progress.rows[progress.best_epoch - 1]
        return {
            "network": self.run.network.name,
            "data": self.config.data,
            "params": count.params,
            "macs": count.macs,
            "resolution": self.run.network.resolution,
            "epochs": self.config.epochs,
            "steps": progress.step,
            "best_epoch": progress.best_epoch,
            "val_accuracy": best["val_accuracy"],
            "val_loss": best["val_loss"],
            "val_images": len(self.data.val),
            "train_seconds": round(progress.seconds, 2),
            "versions": {"convwright": convwright.__version__, "torch": torch.__version__},
        }


def _quality(row: dict[str, float]) -> tuple[float, float]:
    return row["val_accuracy"], -row["val_loss"]


def _set_norm_momentum(module: nn.Module, momentum: float | None) -> None:
    for part in module.modules():
        if momentum is not None and isinstance(part, nn.BatchNorm2d):
            part.momentum = momentum
