"""Networks whose cost is computed per second: `python benchmarks/cost.py`.

Cold: EfficientNet-B0 is made from its name and its cost computed, with an empty cache of blocks. Cold, cost only: the
same without making the network. Warm: the same network again. Candidates: different scalings of B0, each made and
counted as a search does; blocks that candidates share are cached.
"""

import argparse
import random
import statistics
import time
from collections.abc import Callable

from machine import describe

import convwright as cw
from convwright.arch.cost import cost_of_block

NAME = "efficientnet_b0"


def cold() -> None:
    cost_of_block.cache_clear()
    cw.cost(cw.network(NAME))


def measure(once: Callable[[], object], repeats: int) -> tuple[float, float, float]:
    """Return the median, smallest and largest time in seconds."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        once()
        times.append(time.perf_counter() - start)
    return statistics.median(times), min(times), max(times)


def candidates(count: int, seed: int = 0) -> Callable[[], object]:
    draw = random.Random(seed)
    factors = [[round(draw.uniform(0.6, 2.5), 4) for _ in range(3)] for _ in range(count)]
    baseline = cw.network(NAME)

    def run() -> None:
        cost_of_block.cache_clear()
        for depth, width, resolution in factors:
            cw.cost(cw.scale(baseline, depth, width, resolution))

    return run


def report(name: str, networks: int, times: tuple[float, float, float]) -> None:
    median, least, most = (1000 * seconds / networks for seconds in times)
    print(f"{name:34} {1000 / median:10,.0f} {median:10.3f} {least:8.3f} {most:8.3f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=500, help="networks timed, cold and warm")
    parser.add_argument("--candidates", type=int, default=1000)
    options = parser.parse_args()
    network = cw.network(NAME)

    def cold_cost() -> None:
        cost_of_block.cache_clear()
        cw.cost(network)

    print(f"{describe()}\n\n{'':34} {'per second':>10} {'median ms':>10} {'min':>8} {'max':>8}")
    report("cold, made from its name", 1, measure(cold, options.repeats))
    report("cold, cost only", 1, measure(cold_cost, options.repeats))
    report("warm", 1, measure(lambda: cw.cost(network), options.repeats))
    count = options.candidates
    report(f"{count:,} scaled candidates", count, measure(candidates(count), 3))


if __name__ == "__main__":
    main()
