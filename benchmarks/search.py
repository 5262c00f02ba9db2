"""What a search costs beside its training: overhead of a study, and what a second worker brings.

    python benchmarks/search.py             about 12 minutes on two idle cores
    python benchmarks/search.py --epochs 1  shorter trials

Overhead: one worker, on one core, through a study of a few trials of about a minute each. All of the time but that of
training steps is overhead: starting, opening data, building, validating, writing, and the database. Workers: the same
study by two workers of one core each; ideal is half the time.
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

SEARCH = [sys.executable, "-m", "convwright", "scale", "search", "cifar_resnet20", "--resolution", "14"]
SEARCH += ["--data", "fashion-mnist", "--set", "progressive=0", "--step", "0.2", "--rungs", "1", "--json"]
PARALLEL_AIM, OVERHEAD_AIM = 0.85, 0.05


def carried_out(folder: Path, workers: int, epochs: float, seeds: int) -> tuple[float, dict]:
    """Return the seconds that a study takes as a whole process, and what it found."""
    cores = sorted(os.sched_getaffinity(0))[:workers]
    command = [*SEARCH, "--epochs", str(epochs), "--seeds", str(seeds), "--workers", str(workers), "--out", str(folder)]
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
    parser.add_argument("--epochs", type=float, default=0.45, help="of each trial: 0.45 takes about a minute")
    parser.add_argument("--seeds", type=int, default=2)
    options = parser.parse_args()
    print(describe(), flush=True)
    folder = Path(tempfile.mkdtemp(prefix="convwright-search-"))
    try:
        wall, found = carried_out(folder / "one", 1, options.epochs, options.seeds)
        trials = found["trainings"]
        training = sum(one["train_seconds"] for one in trials)
        inside = sum(one["seconds"] for one in trials)
        print(
            f"one worker: {len(trials)} trials in {wall:.1f} s, {training / len(trials):.1f} s of training each; "
            f"overhead {1 - training / wall:.1%} of wall time (aim {OVERHEAD_AIM:.0%}), of which validation, data and "
            f"files of the trials {(inside - training) / wall:.1%}, all else {1 - inside / wall:.1%}",
            flush=True,
        )
        if len(os.sched_getaffinity(0)) < 2:
            return
        both, again = carried_out(folder / "two", 2, options.epochs, options.seeds)
        same = [one["accuracy"] for one in again["trainings"]] == [one["accuracy"] for one in trials]
        print(
            f"two workers: {both:.1f} s, {wall / both:.2f} times as fast, {wall / both / 2:.2f} of ideal "
            f"(aim {PARALLEL_AIM}); results are {'equal' if same else 'NOT equal'}"
        )
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
