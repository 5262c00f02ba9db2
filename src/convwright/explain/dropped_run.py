"""A network with changed weights, written as a run that the other commands take."""

from pathlib import Path
from typing import Any

import torch

from convwright import json_text
from convwright.explain.dropping import DropStep
from convwright.training.run import Run
from convwright.version import __version__
from convwright.weights import serialized


def write_run(source: Run, chosen: DropStep, out: Path) -> Run:
    """Write a step of `drop`, measured on validation images, as a finished run, whole or not at all.

    Its configuration trains the changed network anew; its summary tells where the weights come from. RunError if
    something is in the way.
    """
    config = source.config.model_copy(update={"network": chosen.network.name})
    files: dict[str, str | bytes] = {
        Run.WEIGHTS: serialized(chosen.module),
        "summary.json": json_text.dump(_summary(source, chosen), indent=1) + "\n",
    }
    return Run.create(out, config, chosen.network, source.classes, source.data, files)


def _summary(source: Run, chosen: DropStep) -> dict[str, Any]:
    rows = source.metrics
    before = source.summary if source.finished else {}
    before.pop("val_loss", None)  # the former network's
    now = {
        "network": chosen.network.name,
        "data": source.config.data,
        "params": chosen.params,
        "macs": chosen.macs,
        "resolution": chosen.network.resolution,
        "val_accuracy": chosen.accuracy,
        "val_images": source.data.images["val"],
        "train_seconds": rows[-1]["seconds"] if rows else before.get("train_seconds", 0.0),
        "versions": {"convwright": __version__, "torch": torch.__version__},
        "derived_from": str(source.path),
        "without_se": list(chosen.blocks),
    }
    return before | now
