"""`evaluate` on a CPU: a predictor's logits beside those of its module, in turns.

    python benchmarks/inference.py
    python benchmarks/inference.py --networks densenet121 --resolution 224 --batch 1

Time is that of the processor, user and system, for one image, and the median over the rounds. The module runs as
`evaluate` ran it before: in channels last, without gradients.
"""

import argparse
import resource
from collections.abc import Callable
from statistics import median

import torch
from machine import describe

import convwright as cw
from convwright.prediction.network import Predictor
from convwright.training.allocator import kept_memory

NETWORKS = ("efficientnet_lite0", "efficientnet_b0", "densenet121", "seresnet50")


def milliseconds(work: Callable[[], object], images: int) -> float:
    """Return the milliseconds of the processor for one image."""
    before = resource.getrusage(resource.RUSAGE_SELF)
    work()
    after = resource.getrusage(resource.RUSAGE_SELF)
    return 1000 * (after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime) / images


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=[*NETWORKS])
    parser.add_argument("--resolution", type=int, default=160)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"{describe()}; {options.resolution} px, batches of {options.batch}, threads: {options.threads}")
    print("| network | module | predictor | times as fast | largest difference | same classes |")
    print("|---|---:|---:|---:|---:|---:|")
    for name in options.networks:
        network = cw.network(f"{name}|resolution:{options.resolution}")
        classes, grey = list(map(str, range(network.classes))), [0.5] * network.channels
        predictor = Predictor(network, cw.build(network, seed=0), classes, grey, grey)
        shape = options.batch, network.channels, options.resolution, options.resolution
        images = torch.randint(0, 256, shape, dtype=torch.uint8)

        @torch.no_grad()
        def module(predictor: Predictor = predictor, images: torch.Tensor = images) -> torch.Tensor:
            found: torch.Tensor = predictor.module(predictor.normalised(images)).float()
            return found

        with kept_memory():
            expected, found = module(), predictor.logits(images)
            rounds = []
            for _ in range(options.rounds):
                usual = milliseconds(module, options.batch)
                rounds.append((usual, milliseconds(lambda p=predictor, x=images: p.logits(x), options.batch)))
        times = [f"{median(each[at] for each in rounds):.2f} ms" for at in range(2)]
        ratio = median(usual / fast for usual, fast in rounds)
        difference = ((found - expected).abs().max() / expected.abs().max()).item()
        same = (found.argmax(1) == expected.argmax(1)).float().mean().item()
        print(f"| {name} | {times[0]} | {times[1]} | {ratio:.2f} | {difference:.1e} | {same:.0%} |", flush=True)


if __name__ == "__main__":
    main()
