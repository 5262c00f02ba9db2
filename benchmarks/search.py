"""Overhead of a search beside its training, and the speed-up by a second worker.

    python benchmarks/search.py             about 12 minutes on two idle cores
    python benchmarks/search.py --epochs 1  shorter training runs

Overhead: one worker on one core runs a study of a few training runs of about a minute each. All of the time but that of
training steps is overhead: start-up, reading data, building, validation, writing, and the database. Workers: the same
study with two workers of one core each; ideal is half the time.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from machine import describe

from convwright.machine import available_cores

SEARCH = [sys.executable, "-m", "convwright", "scale", "search", "cifar_resnet20", "--resolution", "14"]
SEARCH += ["--set", "progressive=0", "--step", "0.2", "--rungs", "1", "--json"]
PARALLEL_AIM, OVERHEAD_AIM = 0.85, 0.05


def run_study(data: str, folder: Path, workers: int, epochs: float, seeds: int) -> tuple[float, dict]:
    """Return the seconds of a study as a whole process, and what it found."""
    cores = available_cores()[:workers]
    command = [*SEARCH, "--data", data, "--epochs", str(epochs), "--seeds", str(seeds)]
    command += ["--workers", str(workers), "--out", str(folder)]
    threads = {"OMP_NUM_THREADS": "1"}
    started = time.perf_counter()
    done = subprocess.run(
        ["taskset", "-c", ",".join(map(str, cores)), *command],
        capture_output=True,
        check=True,
        env=os.environ | threads,
    )
    return time.perf_counter() - started, json.loads(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="fashion-mnist")
    parser.add_argument("--epochs", type=float, default=0.45, help="of each training: 0.45 takes about a minute")
    parser.add_argument("--seeds", type=int, default=2)
    options = parser.parse_args()
    print(describe(), flush=True)
    folder = Path(tempfile.mkdtemp(prefix="convwright-search-"))
    try:
        wall, found = run_study(options.data, folder / "one", 1, options.epochs, options.seeds)
        trainings = found["trainings"]
        training = sum(one["train_seconds"] for one in trainings)
        inside = sum(one["seconds"] for one in trainings)
        print(
            f"one worker: {len(trainings)} training runs in {wall:.1f} s, {training / len(trainings):.1f} s each; "
            f"overhead {1 - training / wall:.1%} of wall time (aim {OVERHEAD_AIM:.0%}), of which validation, data and "
            f"files of the training runs {(inside - training) / wall:.1%}, all else {1 - inside / wall:.1%}",
            flush=True,
        )
        if len(available_cores()) < 2:
            return
        both, again = run_study(options.data, folder / "two", 2, options.epochs, options.seeds)
        same = [one["accuracy"] for one in again["trainings"]] == [one["accuracy"] for one in trainings]
        print(
            f"two workers: {both:.1f} s, {wall / both:.2f} times as fast, {wall / both / 2:.2f} of ideal "
            f"(aim {PARALLEL_AIM}); results are {'equal' if same else 'NOT equal'}"
        )
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
