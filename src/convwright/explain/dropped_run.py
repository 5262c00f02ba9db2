"""A network without squeeze-and-excitation, written as a run for other functions and commands."""

from pathlib import Path

import torch

from convwright import json_text
from convwright.explain.dropping import DropStep
from convwright.training.run import Run
from convwright.training.thresholds import NAME as THRESHOLDS
from convwright.training.thresholds import Thresholds
from convwright.training.training_images import NAME, training_images_of
from convwright.version import __version__
from convwright.weights import serialized


def write_run(source: Run, chosen: DropStep, out: Path) -> Run:
    """Write a step of `drop_steps`, measured on validation images, as a finished run, completely or not at all.

    The configuration of the new run trains the changed network from the beginning; the summary names the run that the
    weights come from.

    Args:
        source: The run that the network comes from.
        chosen: The step.
        out: The new run directory.

    Raises:
        RunError: The directory is in use.
    """
    config = source.config.model_copy(update={"network": chosen.network.name})
    files: dict[str, str | bytes] = {
        Run.WEIGHTS: serialized(chosen.module),
        "summary.json": json_text.dump(_summary(source, chosen), indent=1) + "\n",
    }
    if chosen.thresholds is not None:
        files[THRESHOLDS] = Thresholds.of(source.classes, chosen.thresholds).to_json_text()
    if recorded := training_images_of(source):
        files[NAME] = recorded.to_bytes()
    return Run.create(out, config, chosen.network, source.classes, source.data, files)


def _summary(source: Run, chosen: DropStep) -> dict[str, object]:
    rows = source.metrics
    before = source.summary.to_dict() if source.finished else {}
    before.pop("val_loss", None)  # of the network before
    now: dict[str, object] = {
        "network": chosen.network.name,
        "data": source.config.data,
        "params": chosen.params,
        "macs": chosen.macs,
        "resolution": chosen.network.resolution,
        "val_accuracy" if chosen.thresholds is None else "val_map": chosen.accuracy,
        "val_images": source.data.images["val"],
        "train_seconds": rows[-1]["seconds"] if rows else before.get("train_seconds", 0.0),
        "versions": {"convwright": __version__, "torch": torch.__version__},
        "derived_from": str(source.path),
        "without_se": list(chosen.blocks),
        "schema_version": 1 if chosen.thresholds is None else 2,
    }
    return before | now
