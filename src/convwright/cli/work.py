"""`convwright scale work`: one more worker for a study, which `scale search --workers` starts by itself."""

import os
import signal
import sys
import threading
from pathlib import Path
from typing import Annotated

import typer

from convwright.errors import UsageError
from convwright.machine import set_affinity


def work(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder of a study that has begun.")],
    cores: Annotated[str | None, typer.Option(help="Processor cores to keep to: 0,1.")] = None,
    tied: Annotated[bool, typer.Option("--tied", help="Stop when standard input ends.")] = False,
) -> None:
    """Train what a study still has to train, beside its other workers."""
    if cores is not None:
        try:
            set_affinity([int(core) for core in cores.split(",")])
        except (ValueError, OSError):
            raise UsageError(f"--cores takes numbers of this machine's cores, such as 0,1, not {cores!r}") from None
    import torch

    from convwright.scaling import worker

    if cores is not None:
        torch.set_num_threads(len(cores.split(",")))
    if tied:
        threading.Thread(target=_stop_at_the_end_of_input, daemon=True).start()
    worker.work(*worker.described(folder))


def _stop_at_the_end_of_input() -> None:
    while os.read(sys.stdin.fileno(), 1):  # not by sys.stdin, whose lock would be in the way when Python ends
        pass
    os.kill(os.getpid(), signal.SIGTERM)
