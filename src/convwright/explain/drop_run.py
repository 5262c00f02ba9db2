"""A network with changed weights, written as a run that the other commands take."""

from pathlib import Path

from convwright.explain.drop import Dropped
from convwright.training.run import Run, ensure_free
from convwright.weights import save_weights


def write_run(source: Run, chosen: Dropped, out: Path) -> Run:
    """Write a step of `drop`, measured on validation images, as a finished run. RunError if something is there.

    Its configuration trains the changed network anew; its summary tells where the weights come from.
    """
    ensure_free(out)
    network = chosen.network
    config = source.config.model_copy(update={"network": network.name})
    run = Run.create(out, config, network, source.classes, source.data)
    save_weights(chosen.module, run.weights)
    before = source.summary if source.finished else {}
    run.write_summary(
        before
        | {
            "network": network.name,
            "data": source.config.data,
            "params": chosen.params,
            "macs": chosen.macs,
            "resolution": network.resolution,
            "val_accuracy": chosen.accuracy,
            "val_images": source.data.images["val"],
            "derived_from": str(source.path),
            "without_se": list(chosen.blocks),
        }
    )
    return run
