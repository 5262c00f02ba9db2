"""The process that measures one engine: `python -m convwright.benchmarking.worker JOB` prints one line of JSON."""

import json
import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from convwright import json_text
from convwright.benchmarking.measuring import ENGINES, LEAST, MOST, save_array
from convwright.engines.card import Card
from convwright.engines.registry import open_file
from convwright.engines.runner import Runner
from convwright.errors import ConvwrightError
from convwright.exporting.agreement import logits_of
from convwright.machine import peak_memory
from convwright.timing import call_seconds

FILE_NAMES = {"torch-folded": "torch"}
"""What an engine is called where exported files are opened."""


def work(job: dict[str, Any]) -> dict[str, Any]:
    """Open a network in an engine, run it, and return times and memory."""
    path, engine = Path(job["path"]), ENGINES[job["engine"]]
    __import__(engine.package)
    if engine.package == "torch":  # what its first operation loads is no network's memory
        import torch

        torch.set_num_threads(job["threads"])
        torch.nn.functional.conv2d(torch.zeros(1, 3, 8, 8), torch.zeros(8, 3, 3, 3))
    before, started = peak_bytes(), time.perf_counter()
    run, card = _opened(path, engine.name, job)
    images = np.random.default_rng(0).integers(
        0, 256, (job["batch"], card.channels, card.resolution, card.resolution), dtype=np.uint8
    )
    run(images)
    loaded = time.perf_counter() - started
    times = call_seconds(lambda: run(images), at_least=LEAST, at_most=MOST, seconds=job["seconds"])
    memory = peak_bytes() - before
    if job["images"]:
        save_array(Path(f"{job['images']}.logits.npy"), logits_of(run, np.load(job["images"])))
    return {"seconds": times, "load_seconds": loaded, "memory_bytes": memory}


def _opened(path: Path, engine: str, job: dict[str, Any]) -> tuple[Runner, Card]:
    if path.is_dir():
        from convwright.benchmarking.torch_eager import eager_runner

        return eager_runner(path, engine, job["precision"])
    name = FILE_NAMES.get(engine, engine)
    compute = "bf16" if job["precision"] == "bf16" else "f32"
    loaded = open_file(path, name, job["threads"], compute)
    return loaded.run, loaded.card


def peak_bytes() -> int:
    """Return the most memory that this process has held."""
    # On Linux ru_maxrss begins at the peak of the process that started this one, in which the network would vanish.
    with suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("VmHWM:")).split()[1])
    return peak_memory() or 0


if __name__ == "__main__":
    answer = os.dup(1)
    os.dup2(2, 1)  # engines and compilers may print; only the answer goes to standard output
    try:
        told = work(json.loads(sys.argv[1]))
    except ConvwrightError as error:
        sys.exit(str(error))
    os.write(answer, (json_text.dump(told) + "\n").encode())
