"""Peak memory of training, plain and memory-efficient, as a DenseNet grows deeper, and beside timm's checkpointing.

    python benchmarks/memory.py --out runs/memory

Each point is measured in its own process. Memory: the peak of two training steps, minus the memory before them. "live":
freed tensors are returned to the system at once (malloc's settings), so that the peak is the memory in use; "resident":
with the settings of `convwright train`. Time: processor time with one thread, as resident; the kinds take turns in
several processes, each with four steps after one that is not counted. Ratios are those of each round's medians, with
their median and range. Writes memory.json (rows of peaks, rows of times) and memory.svg.
"""

import argparse
import ctypes
import json
import math
import multiprocessing
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from machine import describe
from torch import nn

import convwright as cw
from convwright.benchmarking.worker import peak_bytes
from convwright.training.allocator import return_freed_memory

DEPTHS = (22, 40, 58, 76, 100)
MMAP_THRESHOLD, TRIM_THRESHOLD = -3, -1
MB = 2**20
LARGE = ("plain", "memory-efficient", "timm", "timm, checkpoint")
COLOURS = {"plain": "#c44", "memory-efficient": "#26a"}


@dataclass(frozen=True)
class Job:
    """A network, how it is trained, and whether freed memory is returned to the system."""

    network: str
    kind: str
    resolution: int
    batch: int
    live: bool


def seconds_of_steps(job: Job, steps: int) -> list[float]:
    """Take training steps; return the processor time of each."""
    module, images, labels = setup(job)
    return [step(module, images, labels) for _ in range(steps)]


def peak_of(job: Job) -> float:
    """Return the peak of two steps in MiB."""
    module, images, labels = setup(job)
    with suppress(OSError):  # else the peak of a larger parent process may be counted
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before = peak_bytes()
    for _ in range(2):
        step(module, images, labels)
    return (peak_bytes() - before) / MB


def setup(job: Job) -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    """Prepare the process for a job; return its network, images and labels."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    if job.live:
        libc = ctypes.CDLL(None)
        libc.mallopt(MMAP_THRESHOLD, 65536)
        libc.mallopt(TRIM_THRESHOLD, 65536)
    elif job.kind == "memory-efficient":
        return_freed_memory()
    if job.kind.startswith("timm"):
        import timm

        module = timm.create_model(job.network, memory_efficient="checkpoint" in job.kind)
    else:
        memory_efficient = job.kind == "memory-efficient"
        module = cw.build(cw.network(job.network), seed=0, fused=memory_efficient, memory_efficient=memory_efficient)
    module = module.to(memory_format=torch.channels_last).train()
    size = (job.batch, 3, job.resolution, job.resolution)
    images = torch.randn(size).contiguous(memory_format=torch.channels_last)
    return module, images, torch.randint(0, 10, (job.batch,))


def step(module: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> float:
    """Forward and backward; return the processor time."""
    module.zero_grad()
    started = time.process_time()
    nn.functional.cross_entropy(module(images), labels).backward()
    return time.process_time() - started


def in_process(function: Callable[..., Any], *arguments: object) -> Any:
    """Call a function in a new process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def peaks(jobs: list[Job]) -> list[dict[str, object]]:
    """Return a row for each job, with its peak."""
    rows = []
    for job in jobs:
        peak = in_process(peak_of, job)
        rows.append(asdict(job) | {"peak_mib": round(peak, 1)})
        how = "live" if job.live else "resident"
        print(f"{job.network:24} {job.kind:18} {how:8} {peak:8.0f} MiB", flush=True)
    return rows


def times(jobs: list[Job], rounds: int, steps: int) -> list[dict[str, object]]:
    """Return a row for each job: the times of its rounds, and ratios to the first job's."""
    found: list[list[float]] = [[] for _ in jobs]
    for _ in range(rounds):
        for job, seconds in zip(jobs, found, strict=True):
            seconds.append(median(in_process(seconds_of_steps, job, 1 + steps)[1:]))
    rows = []
    for job, seconds in zip(jobs, found, strict=True):
        ratios = [one / first for one, first in zip(seconds, found[0], strict=True)]
        ratio = {"median": median(ratios), "least": min(ratios), "most": max(ratios)}
        rows.append(asdict(job) | {"seconds": seconds, "ratio": ratio, "of": jobs[0].kind, "steps": steps})
        print(
            f"{job.network:24} {job.kind:18} {median(seconds):8.2f} s, {ratio['median']:.3f} times that of "
            f"{jobs[0].kind} ({ratio['least']:.3f} to {ratio['most']:.3f}, {rounds} rounds)",
            flush=True,
        )
    return rows


def plot(rows: list[dict[str, object]], depths: list[int]) -> str:
    """Return a plot (SVG) of peak memory against depth, with a line for each kind."""
    width, height, left, top = 560, 320, 70, 30
    largest = max(float(row["peak_mib"]) for row in rows)  # type: ignore[arg-type]
    tick = next(tick for tick in (50, 100, 250, 500, 1000, 2500, 5000, 10**6) if largest / tick <= 6)
    most = tick * math.ceil(largest / tick)
    deepest = max(depths)

    def place(depth: float, peak: float) -> tuple[float, float]:
        return left + (width - left - 20) * depth / deepest, height - 50 - (height - 50 - top) * peak / most

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        'font-size="12"><rect width="100%" height="100%" fill="white"/>'
    ]
    for value in range(0, most + 1, tick):
        x, y = place(0, value)
        parts.append(f'<path d="M{x} {y:.1f}H{width - 20}" stroke="#ddd"/>')
        parts.append(f'<text x="{x - 6}" y="{y + 4:.1f}" text-anchor="end">{value}</text>')
    parts += [
        f'<text x="{place(depth, 0)[0]:.1f}" y="{height - 32}" text-anchor="middle">{depth}</text>' for depth in depths
    ]
    for index, (kind, colour) in enumerate(COLOURS.items()):
        points = [
            place(depth, float(row["peak_mib"]))  # type: ignore[arg-type]
            for depth, row in zip(depths, [row for row in rows if row["kind"] == kind], strict=True)
        ]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y in points]
        parts.append(f'<text x="{left + 14}" y="{top + 14 + 18 * index}" fill="{colour}">{kind}</text>')
    parts.append(f'<text x="{width / 2}" y="{height - 10}" text-anchor="middle">depth L of DenseNet-BC, k = 12</text>')
    parts.append('<text x="8" y="18">peak memory of a training step, MiB</text></svg>')
    return "\n".join(parts) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/memory-benchmark"))
    parser.add_argument("--batch", type=int, default=64, help="images per step of the CIFAR networks")
    parser.add_argument("--depths", type=int, nargs="+", default=list(DEPTHS), help="of DenseNet-BC, k = 12")
    parser.add_argument("--rounds", type=int, default=3, help="processes of each kind that are timed")
    parser.add_argument("--steps", type=int, default=4, help="timed steps of each process")
    parser.add_argument("--no-large", action="store_true", help="leave DenseNet-121 out")
    options = parser.parse_args()
    print(f"{describe()}; torch {torch.__version__}, 1 thread", flush=True)
    options.out.mkdir(parents=True, exist_ok=True)

    def small(depth: int, live: bool) -> list[Job]:
        return [Job(f"densenet_bc_l{depth}_k12", kind, 32, options.batch, live) for kind in COLOURS]

    def large(live: bool) -> list[Job]:
        return [] if options.no_large else [Job("densenet121", kind, 224, 16, live) for kind in LARGE]

    rows = peaks([job for depth in options.depths for job in small(depth, live=True)])
    (options.out / "memory.svg").write_text(plot(rows, options.depths), encoding="utf-8")
    deepest = small(max(options.depths), live=False)
    rows += peaks([*deepest, *large(live=True), *large(live=False)])
    for jobs in (deepest, large(live=False)):
        rows += times(jobs, options.rounds, options.steps) if jobs else []
        (options.out / "memory.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
