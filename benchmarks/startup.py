"""Processor time of whole commands, most of which is the import of what they use: `python benchmarks/startup.py`.

Each command runs in turns with `python -c "import torch"`, so that both meet the same machine. The column "scaled" is
for a machine on which that import takes 1.25 s, as the targets are. `train` takes one step on digits. `serve` and
`studio` end at their first page, and their wall-clock time counts. `--against CHECKOUT` runs each command in another
checkout too (`git worktree add --detach /tmp/before 9f6b20f`): a ratio below 1 means that this checkout is faster.
"""

import argparse
import contextlib
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from http.cookiejar import CookieJar
from pathlib import Path

from machine import describe

ROOT = Path(__file__).resolve().parents[1]
TORCH = ["-c", "import torch"]
USUAL = 1.25
"""Seconds of that import on the machine of the targets, when it is quiet."""
NEW = "NEW"
"""Stands for a path that does not exist yet."""


@dataclass(frozen=True)
class Command:
    """A process to time, and the seconds that it should take at most."""

    arguments: list[str]
    target: float | None = None
    server: bool = False
    """Whether it prints an address, and ends when its page was loaded; its wall-clock time is measured."""


def commands(folder: Path) -> dict[str, Command]:
    """Return the commands by name; a run, its exported file and an image are made in the folder."""
    run, file, image = str(folder / "run"), str(folder / "network.onnx"), str(folder / "image.png")
    cli = ["-m", "convwright"]
    train = [*cli, "train", "--data", "digits", "--network", "cifar_resnet8"]
    subprocess.run([sys.executable, *train, "--epochs", "2", "--out", run], check=True, capture_output=True)
    shutil.copytree(run, folder / "exported")  # an export selects the engine of its run
    export = [*cli, "export", str(folder / "exported"), "--out", file]
    subprocess.run([sys.executable, *export], check=True, capture_output=True)
    from PIL import Image

    Image.linear_gradient("L").save(image)
    densenet = [*cli, "show", "densenet264", "--diagram", "-"]
    return {
        "python -c pass": Command(["-c", "pass"]),
        "import convwright": Command(["-c", "import convwright"], 0.06),
        "convwright --version": Command([*cli, "--version"]),
        "convwright --help": Command([*cli, "--help"]),
        "models": Command([*cli, "models"]),
        "show densenet264 --diagram -": Command(densenet),
        "predict, without torch": Command([*cli, "predict", file, image], 0.25),
        "predict, with torch": Command([*cli, "predict", run, image], 1.6),
        "train, one step": Command([*train, "--epochs", "0.02", "--out", NEW], 2.0),
        "evaluate": Command([*cli, "evaluate", run, "--json"], 2.0),
        "report": Command([*cli, "report", run, "--out", f"{NEW}.html"], 2.5),
        "serve, to its first page": Command([*cli, "serve", file, "--port", "0"], 3.0, server=True),
        "studio, to its first page": Command([*cli, "studio", str(folder), "--port", "0"], 3.0, server=True),
    }


def seconds(command: Command, checkout: Path) -> float:
    """Return the processor time of a process, or of a server the time until its first page."""
    environment = os.environ | {"PYTHONPATH": str(checkout / "src"), "PYTHONUNBUFFERED": "1"}
    with tempfile.TemporaryDirectory() as folder:
        arguments = [text.replace(NEW, f"{folder}/new") for text in command.arguments]
        start = time.perf_counter()
        with subprocess.Popen(
            [sys.executable, *arguments],
            env=environment,
            stdout=subprocess.PIPE if command.server else subprocess.DEVNULL,
            stderr=subprocess.STDOUT if command.server else subprocess.DEVNULL,
            text=True,
        ) as process:
            if command.server:
                _load_page(process)
                passed = time.perf_counter() - start
                process.send_signal(signal.SIGINT)
                process.wait()
                return passed
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise RuntimeError(f"{' '.join(arguments)} failed with status {process.returncode}")
        return used.ru_utime + used.ru_stime


def _load_page(process: subprocess.Popen[str]) -> None:
    """Load the page whose address a server prints; its token becomes a cookie."""
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
    for address in _addresses(process):
        with contextlib.suppress(OSError):
            opener.open(address, timeout=10).read()
            return
    raise RuntimeError("the server printed no address with a page")


def _addresses(process: subprocess.Popen[str]) -> Iterator[str]:
    assert process.stdout
    for line in process.stdout:
        _, found, rest = line.partition("http://")
        if found:
            yield found + rest.split()[0].rstrip('",.;')


def in_turns(command: Command, checkouts: list[Path], runs: int) -> list[list[float]]:
    """Return seconds of `import torch` and of the command in each checkout, after one round that fills the caches."""
    kinds = [(Command(TORCH), checkouts[0]), *((command, checkout) for checkout in checkouts)]
    times: list[list[float]] = [[] for _ in kinds]
    for turn in range(runs + 1):
        for place, kind in enumerate(kinds):
            taken = seconds(*kind)
            if turn:
                times[place].append(taken)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7, help="processes timed for each command and checkout")
    parser.add_argument("--only", nargs="*", metavar="TEXT", help="only commands whose names begin so")
    parser.add_argument("--against", type=Path, metavar="CHECKOUT", help="another checkout to compare with")
    options = parser.parse_args()
    checkouts = [ROOT, *([options.against.resolve()] if options.against else [])]
    print(f"{describe()}\nmedian seconds of {options.runs} processes each, and the range\n")
    against = f" {'other checkout':>21} {'ratio':>6}" if len(checkouts) > 1 else ""
    print(f"{'command':30} {'import torch':>12} {'this checkout':>21} {'scaled':>6} {'target':>6}{against}")
    with tempfile.TemporaryDirectory() as folder:
        for name, command in commands(Path(folder)).items():
            if options.only and not name.startswith(tuple(options.only)):
                continue
            torch, *times = in_turns(command, checkouts, options.runs)
            medians = [statistics.median(each) for each in times]
            cells = [f"{m:.2f} ({min(t):.2f} to {max(t):.2f})" for m, t in zip(medians, times, strict=True)]
            usual = statistics.median(torch)
            target = "" if command.target is None else f"{command.target:.2f}"
            row = f"{name:30} {usual:12.2f} {cells[0]:>21} {medians[0] * USUAL / usual:6.2f} {target:>6}"
            print(row + (f" {cells[1]:>21} {medians[0] / medians[1]:6.2f}" if len(cells) > 1 else ""), flush=True)


if __name__ == "__main__":
    main()
