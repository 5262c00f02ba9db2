"""The process that measures one engine: `python -m convwright.benchmarking.worker JOB` prints one line of JSON."""

import os
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np

from convwright import json_text
from convwright.arch.resolution import sides
from convwright.benchmarking.backends import backends
from convwright.benchmarking.job import GPU, LEAST, MOST, Job, Outcome, Setting, save_array
from convwright.engines.card import Card
from convwright.engines.registry import open_file
from convwright.engines.runner import Runner
from convwright.errors import ConvwrightError
from convwright.exporting.agreement import logits_of
from convwright.machine import peak_memory
from convwright.timing import ROUNDS, measure_call


def work(job: Job) -> Outcome:
    """Open a network in an engine, run it, and return times and memory."""
    backend, setting = backends()[job.setting.engine], job.setting
    __import__(backend.package)
    if backend.package == "torch":  # the memory that its first operation takes does not belong to the network
        import torch

        if setting.threads != GPU:
            torch.set_num_threads(setting.threads)
        torch.nn.functional.conv2d(torch.zeros(1, 3, 8, 8), torch.zeros(8, 3, 3, 3))
    before, started = peak_bytes(), time.perf_counter()
    run, card = _opened(Path(job.path), backend.engine, setting)
    images = np.random.default_rng(0).integers(
        0, 256, (setting.batch, card.channels, *sides(card.resolution)), dtype=np.uint8
    )
    run(images)
    loaded = time.perf_counter() - started
    timing = measure_call(lambda: run(images), at_least=LEAST, at_most=MOST, seconds=job.seconds / ROUNDS)
    peak = peak_bytes()
    if job.images:
        save_array(Path(f"{job.images}.logits.npy"), logits_of(run, np.load(job.images)))
    if setting.threads == GPU:  # whose memory is not the process's, and for which the processor mostly waits
        return Outcome(list(timing.seconds), loaded, _gpu_bytes(backend.package), "")
    grown = None if peak is None or before is None else peak - before
    return Outcome(list(timing.seconds), loaded, grown, timing.doubt)


def _gpu_bytes(package: str) -> int | None:
    """Return the most memory of the GPU that tensors have taken; None where torch does not compute."""
    if package != "torch":
        return None
    import torch

    return torch.cuda.max_memory_allocated()


def _opened(path: Path, engine: str, setting: Setting) -> tuple[Runner, Card]:
    if path.is_dir():
        from convwright.benchmarking.torch_eager import eager_runner

        return eager_runner(path, setting.engine, setting.precision)
    compute = "bf16" if setting.precision == "bf16" else "f32"
    loaded = open_file(path, engine, setting.threads or None, compute)
    return loaded.run, loaded.card


def peak_bytes() -> int | None:
    """Return the most memory that this process has held; None where it is unknown."""
    # On Linux ru_maxrss starts at the peak of the parent process, which would hide the network.
    with suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("VmHWM:")).split()[1])
    return peak_memory()


if __name__ == "__main__":
    output = os.dup(1)
    os.dup2(2, 1)  # engines and compilers may print; only the result goes to standard output
    try:
        outcome = work(Job.from_json_text(sys.argv[1]))
    except ConvwrightError as error:
        sys.exit(str(error))
    os.write(output, (json_text.dump(vars(outcome)) + "\n").encode())
