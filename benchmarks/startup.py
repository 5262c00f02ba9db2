"""How long whole processes take, from the shell's view: `python benchmarks/startup.py`."""

import argparse
import statistics
import subprocess
import sys
import time

from machine import describe

COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "import convwright": ["-c", "import convwright"],
    "convwright --version": ["-m", "convwright", "--version"],
    "convwright models": ["-m", "convwright", "models"],
    "convwright models --json": ["-m", "convwright", "models", "--json"],
    "convwright show efficientnet_b7": ["-m", "convwright", "show", "efficientnet_b7"],
    "convwright show densenet264 --diagram -": ["-m", "convwright", "show", "densenet264", "--diagram", "-"],
}


def seconds(arguments: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=15, help="processes timed for each command")
    runs = parser.parse_args().runs
    print(f"{describe()}\nmilliseconds of {runs} processes each, after one that is not counted\n")
    print(f"{'command':40} {'median':>8} {'least':>8} {'most':>8}")
    for name, arguments in COMMANDS.items():
        seconds(arguments)  # fills the file cache and writes byte code
        times = [1000 * seconds(arguments) for _ in range(runs)]
        print(f"{name:40} {statistics.median(times):8.0f} {min(times):8.0f} {max(times):8.0f}", flush=True)


if __name__ == "__main__":
    main()
