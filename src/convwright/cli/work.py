"""`convwright scale work`: one more worker for a study, which `scale search --workers` starts by itself."""

import os
from pathlib import Path
from typing import Annotated

import typer

from convwright.errors import UsageError


def work(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder of a study that has begun.")],
    cores: Annotated[str | None, typer.Option(help="Processor cores to keep to: 0,1.")] = None,
) -> None:
    """Train what a study still has to train, beside its other workers."""
    if cores is not None:
        try:
            os.sched_setaffinity(0, [int(core) for core in cores.split(",")])
        except (ValueError, OSError):
            raise UsageError(f"--cores takes numbers of this machine's cores, such as 0,1, not {cores!r}") from None
    import torch

    from convwright.scaling import worker

    if cores is not None:
        torch.set_num_threads(len(cores.split(",")))
    worker.work(*worker.described(folder))
