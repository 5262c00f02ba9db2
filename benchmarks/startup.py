"""How long whole processes take, from the shell's view: `python benchmarks/startup.py [--against CHECKOUT]`.

With `--against`, each command runs in turns in this checkout and in another one (`git worktree add --detach /tmp/before
9f6b20f`), and the last column is the ratio of the medians: below 1 this checkout is faster.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from machine import describe

ROOT = Path(__file__).resolve().parents[1]
COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "import convwright": ["-c", "import convwright"],
    "convwright --version": ["-m", "convwright", "--version"],
    "convwright --help": ["-m", "convwright", "--help"],
    "convwright models": ["-m", "convwright", "models"],
    "convwright models --json": ["-m", "convwright", "models", "--json"],
    "convwright show efficientnet_b7": ["-m", "convwright", "show", "efficientnet_b7"],
    "convwright show densenet264 --diagram -": ["-m", "convwright", "show", "densenet264", "--diagram", "-"],
}


def seconds(arguments: list[str], checkout: Path) -> float:
    environment = os.environ | {"PYTHONPATH": str(checkout / "src")}
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL, env=environment)
    return time.perf_counter() - start


def in_turns(arguments: list[str], checkouts: list[Path], runs: int) -> list[list[float]]:
    """Return milliseconds by checkout, after one process each that fills the file cache and writes byte code."""
    times: list[list[float]] = [[] for _ in checkouts]
    for turn in range(runs + 1):
        for place, checkout in enumerate(checkouts):
            taken = 1000 * seconds(arguments, checkout)
            if turn:
                times[place].append(taken)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=15, help="processes timed for each command and checkout")
    parser.add_argument("--against", type=Path, metavar="CHECKOUT", help="another checkout to compare with")
    options = parser.parse_args()
    checkouts = [ROOT] + [options.against.resolve()] * (options.against is not None)
    print(f"{describe()}\nmedian milliseconds of {options.runs} processes each, and the range\n")
    print(f"{'command':40} {'this checkout':>20}" + f" {options.against!s:>20} {'ratio':>6}" * (len(checkouts) > 1))
    for name, arguments in COMMANDS.items():
        times = in_turns(arguments, checkouts, options.runs)
        medians = [statistics.median(each) for each in times]
        cells = [f"{m:.0f} ({min(t):.0f} to {max(t):.0f})" for m, t in zip(medians, times, strict=True)]
        row = f"{name:40}" + "".join(f" {cell:>20}" for cell in cells)
        print(row + (f" {medians[0] / medians[1]:6.2f}" if len(medians) > 1 else ""), flush=True)


if __name__ == "__main__":
    main()
