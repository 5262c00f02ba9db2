"""What many classes cost an evaluation: `python benchmarks/classes.py`.

Processor time of a batch by the number of classes: softmax, loss, confusion, top 5 and calibration.
"""

import argparse
import statistics
import time

import torch
from machine import describe

from convwright.evaluation.measures import Tally

CLASSES = (10, 100, 1000, 10_000, 20_000)
BATCH = 128


def milliseconds(classes: int, batches: int) -> tuple[float, float, float]:
    """Return the medians of a batch, and of its softmax alone, and milliseconds of the measures of all batches."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(BATCH, classes, generator=generator)
    labels = torch.randint(classes, (BATCH,), generator=generator)
    tally, adding, softmax = Tally(classes), [], []
    for _ in range(batches):
        began = time.process_time()
        logits.double().log_softmax(1)
        middle = time.process_time()
        tally.add(logits, labels)
        softmax.append(middle - began)
        adding.append(time.process_time() - middle)
    began = time.process_time()
    tally.measures().class_scores(tuple(map(str, range(classes))))
    end = time.process_time() - began
    return 1000 * statistics.median(adding), 1000 * statistics.median(softmax), 1000 * end


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, default=50)
    batches = parser.parse_args().batches
    torch.set_num_threads(1)
    print(describe())
    print(f"\n{'classes':>10} {'a batch of ' + str(BATCH):>16} {'its softmax':>12} {'measures':>10}")
    for classes in CLASSES:
        milliseconds(classes, 3)
        batch, softmax, measures = milliseconds(classes, batches)
        print(f"{classes:>10,} {batch:>13.1f} ms {softmax:>9.1f} ms {measures:>7.1f} ms")


if __name__ == "__main__":
    main()
