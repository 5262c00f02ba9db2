"""Peak memory of training, plain and memory-efficient, as a DenseNet grows deeper, and beside timm's checkpointing.

    python benchmarks/memory.py --out runs/memory

Each point is a process of its own, which takes two training steps; what it holds at most beyond what it held before
them is its peak. "live": every tensor is given back to the system at once (malloc's settings), so that the peak is
that of what is in use; "resident": as `convwright train` runs. Times are processor time of the second step with one
thread. Writes memory.json and memory.svg.
"""

import argparse
import ctypes
import json
import multiprocessing
import resource
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from machine import describe
from torch import nn

import convwright as cw

DEPTHS = (22, 40, 58, 76, 100)
MMAP_THRESHOLD, TRIM_THRESHOLD = -3, -1
MB = 2**20
COLOURS = {"plain": "#c44", "memory-efficient": "#26a"}


@dataclass(frozen=True)
class Job:
    """A network, how it is trained, and how memory is given back."""

    network: str
    kind: str
    resolution: int
    batch: int
    live: bool


def measure(job: Job) -> tuple[float, float]:
    """Return the peak in MiB and the seconds of the second step."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    if job.live:
        libc = ctypes.CDLL(None)
        libc.mallopt(MMAP_THRESHOLD, 65536)
        libc.mallopt(TRIM_THRESHOLD, 65536)
    if job.kind.startswith("timm"):
        import timm

        module = timm.create_model(job.network, memory_efficient="checkpoint" in job.kind)
    else:
        thrifty = job.kind == "memory-efficient"
        module = cw.build(cw.network(job.network), seed=0, fused=thrifty, memory_efficient=thrifty)
    module = module.to(memory_format=torch.channels_last).train()
    size = (job.batch, 3, job.resolution, job.resolution)
    images = torch.randn(size).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(0, 10, (job.batch,))
    before, took = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, 0.0
    for _ in range(2):
        module.zero_grad()
        started = time.process_time()
        nn.functional.cross_entropy(module(images), labels).backward()
        took = time.process_time() - started
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / MB, took


def rows_of(jobs: list[Job]) -> list[dict[str, object]]:
    rows = []
    for job in jobs:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            peak, took = pool.apply(measure, (job,))
        rows.append(asdict(job) | {"peak_mib": round(peak, 1), "seconds": round(took, 3)})
        how = "live" if job.live else "resident"
        print(f"{job.network:24} {job.kind:18} {how:8} {peak:8.0f} MiB {took:7.2f} s", flush=True)
    return rows


def drawn(rows: list[dict[str, object]]) -> str:
    """A line for each kind: peak memory against depth, as SVG."""
    width, height, left, top = 560, 320, 70, 30
    most = max(float(row["peak_mib"]) for row in rows)  # type: ignore[arg-type]
    deepest = max(DEPTHS)

    def place(depth: float, peak: float) -> tuple[float, float]:
        return left + (width - left - 20) * depth / deepest, height - 50 - (height - 50 - top) * peak / most

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        'font-size="12"><rect width="100%" height="100%" fill="white"/>'
    ]
    for share in range(5):
        x, y = place(0, most * share / 4)
        parts.append(f'<path d="M{x} {y:.1f}H{width - 20}" stroke="#ddd"/>')
        parts.append(f'<text x="{x - 6}" y="{y + 4:.1f}" text-anchor="end">{most * share / 4:.0f}</text>')
    parts += [
        f'<text x="{place(depth, 0)[0]:.1f}" y="{height - 32}" text-anchor="middle">{depth}</text>' for depth in DEPTHS
    ]
    for index, (kind, colour) in enumerate(COLOURS.items()):
        points = [
            place(depth, float(row["peak_mib"]))  # type: ignore[arg-type]
            for depth, row in zip(DEPTHS, [row for row in rows if row["kind"] == kind], strict=True)
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
    parser.add_argument("--batch", type=int, default=64, help="images a step of the CIFAR networks")
    options = parser.parse_args()
    print(f"{describe()}; torch {torch.__version__}, 1 thread", flush=True)
    options.out.mkdir(parents=True, exist_ok=True)
    depths = [
        Job(f"densenet_bc_l{depth}_k12", kind, 32, options.batch, live=True) for depth in DEPTHS for kind in COLOURS
    ]
    kinds = ("plain", "memory-efficient", "timm", "timm, checkpoint")
    large = [Job("densenet121", kind, 224, 16, live) for live in (True, False) for kind in kinds]
    resident = [Job(f"densenet_bc_l{DEPTHS[-1]}_k12", kind, 32, options.batch, live=False) for kind in COLOURS]
    rows = rows_of(depths)
    (options.out / "memory.svg").write_text(drawn(rows), encoding="utf-8")
    rows += rows_of(resident) + rows_of(large)
    (options.out / "memory.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
