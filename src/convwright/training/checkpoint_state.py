"""What a checkpoint holds, checked against its run, and what a run is summarised by."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import torch

from convwright.arch import Network
from convwright.arch.cost import cost
from convwright.errors import ConvwrightError, RunError
from convwright.training.config import difference, stored_config
from convwright.training.progress import Progress
from convwright.training.records import CHECKPOINT_VERSION, check_version
from convwright.training.run import Run
from convwright.training.step import Learner
from convwright.version import __version__


def state_of(run: Run, learner: Learner, progress: Progress) -> dict[str, Any]:
    """Return the state of a run, for a checkpoint.

    Args:
        run: The run.
        learner: Its weights and its optimizer.
        progress: How far it has come.
    """
    return {
        "model": learner.network.state_dict(),
        "average": learner.average.module.state_dict() if learner.average else None,
        "optimizer": learner.optimizer.state_dict(),
        "precision": learner.precision.state(),
        "progress": asdict(progress),
        "config": run.config.model_dump(mode="json"),
        "network": run.network.to_json_text(),
        "schema_version": CHECKPOINT_VERSION,
    }


def check_state(state: dict[str, Any], run: Run) -> None:
    """Check that a checkpoint's state is of a run.

    Raises:
        RunError: Configuration or network have changed since, or a newer version has written it.
    """
    check_version(state.get("schema_version", 1), CHECKPOINT_VERSION, run.newest_checkpoint)
    # A version that did not know a field yet did what the field's default says.
    before = stored_config(state["config"], str(run.newest_checkpoint)).model_dump(mode="json")
    if changed := difference(before, run.config.model_dump(mode="json")):
        raise RunError(f"{run.path / 'config.yaml'}: {changed}")
    if Network.from_json_text(state["network"]) != run.network:
        raise RunError(f"{run.path / 'network.json'}: not the network that the run began with")


@contextmanager
def restoring(run: Run) -> Iterator[None]:
    """Enter a context in which a checkpoint's state is used.

    Raises:
        RunError: It is no state of the run.
    """
    try:
        yield
    except ConvwrightError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:  # of a run without checksums
        raise RunError(
            f"{run.newest_checkpoint}: not a checkpoint of this run ({str(error).splitlines()[0]:.160}); remove it"
        ) from None


def measured_summary(run: Run, best: dict[str, float]) -> dict[str, Any]:
    """Return what a summary has of the network, the best validation and the versions, by field.

    Args:
        run: The run.
        best: The row of the best validation.
    """
    count = cost(run.network)
    measure = "val_map" if run.multi_label else "val_accuracy"
    return {
        measure: best[measure],
        "network": run.network.name,
        "params": count.params,
        "macs": count.macs,
        "resolution": run.network.resolution,
        "best_step": best["step"],
        "val_loss": best["val_loss"],
        "threads": torch.get_num_threads(),
        "versions": {"convwright": __version__, "torch": torch.__version__},
        "schema_version": 2 if run.multi_label else 1,
    }
