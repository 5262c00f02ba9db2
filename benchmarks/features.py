"""Features of a frozen backbone: the module in evaluation mode beside `Backbone.inference`, in turns.

    python benchmarks/features.py
    python benchmarks/features.py --networks densenet121 --resolution 224 --threads 2

Time is that of the processor, user and system, for one image, and the median over the rounds.
"""

import argparse
import resource
from collections.abc import Callable
from statistics import median

import torch
from machine import describe

import convwright as cw
from convwright.training.allocator import kept_memory
from convwright.training.backbone import split
from convwright.training.frozen import BATCH

NETWORKS = ("efficientnet_lite0", "efficientnet_b0", "densenet121", "seresnet50")


def milliseconds(work: Callable[[], object], steps: int) -> tuple[float, float]:
    """Return the user and system milliseconds of the processor for one image."""
    before = resource.getrusage(resource.RUSAGE_SELF)
    for _ in range(steps):
        work()
    after = resource.getrusage(resource.RUSAGE_SELF)
    images = steps * BATCH / 1000
    return (after.ru_utime - before.ru_utime) / images, (after.ru_stime - before.ru_stime) / images


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=[*NETWORKS])
    parser.add_argument("--resolution", type=int, default=160)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=3, help="batches in a round")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"{describe()}; {options.resolution} px, {BATCH} images at a time, threads: {options.threads}")
    print("| network | module, user + system | inference, user + system | times as fast | largest difference |")
    print("|---|---:|---:|---:|---:|")
    for name in options.networks:
        backbone = split(cw.build(f"{name}|resolution:{options.resolution}", seed=0))[0].eval()
        images = torch.randn(BATCH, 3, options.resolution, options.resolution)
        infer = backbone.inference()

        def module(backbone: torch.nn.Module = backbone, images: torch.Tensor = images) -> torch.Tensor:
            with torch.no_grad():
                found: torch.Tensor = backbone(images.contiguous(memory_format=torch.channels_last))
            return found

        expected = module()
        difference = ((infer(images) - expected).abs().max() / expected.abs().max()).item()
        rounds = []
        for _ in range(options.rounds):
            usual = milliseconds(module, options.steps)
            with kept_memory():
                rounds.append((usual, milliseconds(lambda infer=infer, images=images: infer(images), options.steps)))
        cells = [
            f"{median(each[at][0] for each in rounds):.2f} + {median(each[at][1] for each in rounds):.2f} ms"
            for at in range(2)
        ]
        ratio = median(sum(usual) / sum(fast) for usual, fast in rounds)
        print(f"| {name} | {cells[0]} | {cells[1]} | {ratio:.2f} | {difference:.1e} |", flush=True)


if __name__ == "__main__":
    main()
