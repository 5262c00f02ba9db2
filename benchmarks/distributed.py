"""What several devices exchange in a training step, and an estimate of how training scales with their number.

    python benchmarks/distributed.py                   sizes, and efficiency up to 64 devices under the assumptions
    python benchmarks/distributed.py --local           two processes against two threads, on this machine's CPU

Sizes are measured: every exchange of one step is recorded, in a group of one process; they do not depend on the number
of devices or the size of the images. Times are estimates. With P devices, batch b on each, and the assumed rate,
bandwidth and latency:

    compute    = 3 x multiply-adds x b / rate                            a backward pass costs two forward passes
    bucket     = 2 (P - 1) / P x bytes / bandwidth + 2 (P - 1) x latency                    a ring all-reduce
    gradients  = last bucket + max(0, other buckets - 2/3 compute)       others overlap with the backward pass
    norms      = exchanges x 2 ceil(log2 P) x latency + 2 x bytes / bandwidth       a tree; nothing to overlap with
    efficiency = compute / (compute + gradients + norms)

With --no-sync-norm, running mean and variance are exchanged once a step: one exchange, of half the bytes.
"""

import argparse
import math
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.distributed as distributed
from machine import describe
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import convwright as cw
from convwright.modules.synchronised import synchronise

NETWORKS = ("efficientnet_b0", "densenet121", "seresnet50")
DEVICES = (2, 4, 8, 16, 32, 64)
SIDE, IMAGES = 64, 2
"""Of the batch that the exchanges are recorded with."""


@dataclass
class Exchanges:
    """Bytes of each exchange of one training step."""

    buckets: list[int] = field(default_factory=list)
    """Of gradients, in the order in which they are ready."""
    norms: list[int] = field(default_factory=list)
    """Of statistics of batch normalisations and their gradients."""


@dataclass(frozen=True)
class Assumptions:
    """A kind of device, and the network between devices."""

    name: str
    rate: float
    """Multiply-adds a second of one device while training."""
    batch: int
    """Images of a step on each device."""
    bandwidth: float
    """Bytes a second that each device sends."""
    latency: float
    """Seconds of a message without content."""


KINDS = (
    Assumptions("CPU nodes of two cores, 10 Gbit/s Ethernet", 150e9, 16, 1.25e9, 30e-6),
    Assumptions("GPUs, 400 Gbit/s InfiniBand", 30e12, 128, 50e9, 5e-6),
)


def recorded(name: str) -> Exchanges:
    """Return the exchanges of one training step of a network with synchronised normalisation."""
    found, all_reduce = Exchanges(), distributed.all_reduce

    def counted(tensor: torch.Tensor, *arguments: Any, **options: Any) -> Any:
        found.norms.append(tensor.numel() * tensor.element_size())
        return all_reduce(tensor, *arguments, **options)

    def hook(_: None, bucket: distributed.GradBucket) -> torch.futures.Future[torch.Tensor]:
        found.buckets.append(bucket.buffer().numel() * bucket.buffer().element_size())
        future: torch.futures.Future[torch.Tensor] = torch.futures.Future()
        future.set_result(bucket.buffer())
        return future

    module = cw.build(name, seed=0).train()
    synchronise(module)
    shared = DistributedDataParallel(module)
    shared.register_comm_hook(None, hook)
    distributed.all_reduce = counted
    try:
        for _ in range(2):  # the first step only finds the order of the buckets
            found.buckets.clear()
            found.norms.clear()
            logits = shared(torch.randn(IMAGES, 3, SIDE, SIDE))
            nn.functional.cross_entropy(logits, torch.zeros(IMAGES, dtype=torch.long)).backward()
    finally:
        distributed.all_reduce = all_reduce
    return found


def efficiency(found: Exchanges, macs: int, devices: int, kind: Assumptions, *, synchronised: bool = True) -> float:
    """Return the share of a step that is computation, by the formula of this file."""
    compute = 3 * macs * kind.batch / kind.rate
    times = [
        2 * (devices - 1) / devices * size / kind.bandwidth + 2 * (devices - 1) * kind.latency for size in found.buckets
    ]
    exposed = times[-1] + max(0.0, sum(times[:-1]) - 2 / 3 * compute)
    tree = 2 * math.ceil(math.log2(devices)) * kind.latency
    size = 2 * sum(found.norms) / kind.bandwidth
    norms = len(found.norms) * tree + size if synchronised else tree + size / 2
    return compute / (compute + exposed + norms)


def estimates(names: list[str]) -> None:
    """Print what is exchanged, and the efficiency for each kind of device."""
    with tempfile.TemporaryDirectory() as folder:
        distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=0, world_size=1)
        every = {name: recorded(name) for name in names}
        distributed.destroy_process_group()
    print(
        "\n| network | gradients, MB | buckets | exchanges of normalisations | kB of them |\n|---|---:|---:|---:|---:|"
    )
    for name, found in every.items():
        assert sum(found.buckets) == 4 * cw.cost(name).params
        sizes = f"{sum(found.buckets) / 1e6:.1f} | {len(found.buckets)}"
        print(f"| {name} | {sizes} | {len(found.norms)} | {sum(found.norms) / 1e3:.0f} |")
    for kind in KINDS:
        print(
            f"\n{kind.name}: {kind.rate / 1e9:,.0f} G multiply-adds/s, {kind.batch} images on each device, "
            f"{kind.bandwidth / 1e9:g} GB/s, {1e6 * kind.latency:g} microseconds\n"
        )
        heads = " | ".join(f"{count} devices" for count in DEVICES)
        print(f"| efficiency | {heads} |\n|---|{'---:|' * len(DEVICES)}")
        for name, found in every.items():
            for synchronised in (True, False):
                shares = [
                    efficiency(found, cw.cost(name).macs, count, kind, synchronised=synchronised) for count in DEVICES
                ]
                label = name if synchronised else f"{name}, --no-sync-norm"
                print(f"| {label} | {' | '.join(f'{share:.1%}' for share in shares)} |")


def local(network: str, data: str, epochs: float, rounds: int) -> None:
    """Print the training seconds of two processes of one thread, and of one process of two threads, in turns."""
    kinds = {
        "two threads": ["--devices", "1"],
        "two processes": ["--devices", "2"],
        "two processes, --no-sync-norm": ["--devices", "2", "--no-sync-norm"],
    }
    times: dict[str, list[float]] = {kind: [] for kind in kinds}
    for _ in range(rounds):
        for kind, options in kinds.items():
            with tempfile.TemporaryDirectory() as folder:
                command = [sys.executable, "-m", "convwright", "train", "--data", data, "--network", network]
                command += ["--epochs", str(epochs), "--no-fused", *options, "--out", f"{folder}/run"]
                threads = {"OMP_NUM_THREADS": "2" if kind == "two threads" else "1"}
                subprocess.run(command, check=True, capture_output=True, env=os.environ | threads)
                times[kind].append(cw.open_run(Path(folder) / "run").summary.train_seconds)
    for kind, seconds in times.items():
        ratios = [each / one for each, one in zip(seconds, times["two threads"], strict=True)]
        print(
            f"{network}, {kind}: {statistics.median(seconds):.1f} s, {statistics.median(ratios):.2f} times as long as "
            f"two threads ({min(ratios):.2f} to {max(ratios):.2f})",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS))
    parser.add_argument("--local", action="store_true", help="measure --devices 2 of `train` on this machine instead")
    parser.add_argument("--data", default="fashion-mnist", help="of --local")
    parser.add_argument("--epochs", type=float, default=0.2, help="of --local")
    parser.add_argument("--rounds", type=int, default=3, help="of --local")
    options = parser.parse_args()
    print(f"{describe()}; torch {torch.__version__}", flush=True)
    if not options.local:
        estimates(options.networks)
        return
    for network in options.networks if options.networks != [*NETWORKS] else ["cifar_resnet14"]:
        local(network, options.data, options.epochs, options.rounds)


if __name__ == "__main__":
    main()
