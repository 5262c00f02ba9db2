"""A worker of a study as a process of its own."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from convwright.errors import ArgumentError
from convwright.machine import set_affinity


def run_worker(
    folder: Path,
    cores: Sequence[int] | None = None,
    tied: bool = False,
    job: Callable[[Path], None] | None = None,
) -> None:
    """Train the tasks of a study beside its other workers. This process is changed, so it should do nothing else.

    Args:
        folder: Folder of the study.
        cores: Processor cores to run on; all by default.
        tied: Whether to stop when standard input ends.
        job: Trains the tasks of the folder; by default those of a search, family or ablation.

    Raises:
        ArgumentError: The machine has no such cores.
        Interrupted: The process was stopped.
    """
    if cores is not None:
        try:
            set_affinity(cores)
        except (ValueError, OSError, OverflowError):
            numbers = ",".join(map(str, cores))
            raise ArgumentError(
                "cores", f"must be numbers of this machine's cores, such as 0,1, not {numbers}"
            ) from None
    import torch

    from convwright.scaling.worker import open_study, work

    if cores is not None:
        torch.set_num_threads(len(cores))
    if tied:
        threading.Thread(target=_stop_at_end_of_input, daemon=True).start()
    if job is None:
        work(*open_study(folder))
    else:
        job(folder)


def _stop_at_end_of_input() -> None:
    while os.read(sys.stdin.fileno(), 1):  # not through sys.stdin, whose lock would block the end of Python
        pass
    if os.name != "nt":
        os.kill(os.getpid(), signal.SIGTERM)
    elif callable(signal.getsignal(signal.SIGTERM)):  # on Windows, `os.kill` ends a process without its handlers
        import _thread

        _thread.interrupt_main(signal.SIGTERM)
    else:
        os._exit(128 + signal.SIGTERM)
