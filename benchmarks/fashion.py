"""Fashion-MNIST from scratch in little time: `fast`, chosen on validation images, measured once on test images.

    python benchmarks/fashion.py --precision bf16-mixed               20 minutes of two idle cores, three seeds
    python benchmarks/fashion.py --precision bf16-mixed --minutes 60  what the same gives in an hour, one seed
    python benchmarks/fashion.py --precision bf16-mixed --families    accuracy against minutes, a network of each family
    python benchmarks/fashion.py --precision bf16-mixed --all         all of these
    python benchmarks/fashion.py --speed        only measure the seconds of an epoch of each network
    python benchmarks/fashion.py --table        only show what has come out so far

Without `--precision` products are of 32 bits, for processors that have no bfloat16. Minutes become epochs by SECONDS
below, which `--speed` measured on two idle cores, so that what comes out does not depend on how busy the machine is:
two runs at once, each on a core of its own (OMP_NUM_THREADS=1), come out the same. Every run can be interrupted: the
same command goes on. A run is measured on the test images when it has ended, and noted in results.json of the folder;
what is noted there is not run again.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import torch
from kept_rows import Row, keep, noted
from machine import describe

import convwright as cw
from convwright.arch import at, fit_resolution
from convwright.data import Dataset, open_dataset
from convwright.errors import ConvwrightError
from convwright.evaluation.assessment import assess
from convwright.prediction.network import load
from convwright.training.config import difference
from convwright.training.interrupt import Interrupted
from convwright.training.loop import resume, train
from convwright.training.operators import compile_fused
from convwright.training.plan import plan
from convwright.training.preparation import make_learner, training_batches
from convwright.training.progress_bar import TerminalProgress
from convwright.training.run import Run
from convwright.training.views import AS_IT_IS, views_of

NETWORK, RECIPE, CROP = "cifar_resnet14", "fast", 2
FAMILIES = {
    "DenseNet-BC": "densenet_bc_l22_k12",
    "SE-ResNet": "cifar_seresnet14",
    "EfficientNet": "efficientnet_b0|scale:d=0.3,w=0.25",
}
SECONDS = {
    "32-true": dict(zip((NETWORK, *FAMILIES.values()), (24.6, 46.5, 24.4, 39.2), strict=True)),
    "bf16-mixed": dict(zip((NETWORK, *FAMILIES.values()), (19.2, 36.2, 19.0, 36.7), strict=True)),
}
"""Of an epoch with two threads on two idle cores, as `--speed` measures it."""
MINUTES, HOUR, FAMILY_MINUTES = 20.0, 60.0, (1.0, 3.0, 8.0)
SPEED_STEPS = 30


@dataclass(frozen=True)
class Job:
    """A network to be trained for this many epochs."""

    network: str
    epochs: float
    seed: int
    precision: str = "32-true"

    @classmethod
    def within(cls, minutes: float, network: str, seed: int, precision: str) -> "Job":
        """Return the job that takes this many minutes, whole epochs from five on, in 32 bits if that is quicker."""
        precision = min((precision, "32-true"), key=lambda one: SECONDS[one][network])
        epochs = int(600 * minutes / SECONDS[precision][network]) / 10
        return cls(network, epochs if epochs < 5 else int(epochs), seed, precision)

    @property
    def folder(self) -> str:
        """Name of the run directory; it includes Muon, since earlier results used SGD."""
        name = self.network.partition("|")[0]
        kind = "-muon" if self.precision == "32-true" else f"-muon-{self.precision}"
        return f"{name}-{self.epochs:g}{kind}-seed{self.seed}"

    def run(self, out: Path, data: Dataset) -> Row:
        """Train or resume, and measure once on the test images. ConvwrightError if the run has another recipe."""
        path = out / self.folder
        fused = compile_fused(self.precision)  # else torch's own operators
        wanted = {"epochs": self.epochs, "seed": self.seed, "precision": self.precision, "fused": fused}
        config, network = plan(data, cw.network(self.network), name=RECIPE, recipe={"crop": CROP}, **wanted)
        bar = TerminalProgress(self.folder)
        if (path / "config.yaml").exists():
            run = Run.open(path)
            if changed := difference(run.config.model_dump(), config.model_dump()):
                raise ConvwrightError(f"{path}: {changed}; remove it, or give another --out")
            resume(run, data, [bar])
        else:
            train(config, network, data, path, [bar])
        summary = Run.open(path).summary
        assert data.test is not None
        kinds = {"test": AS_IT_IS, "test_tta": views_of(config.recipe, data.resolution)}
        tested = {kind: assess(load(path), data, [data.test], views=views).accuracy for kind, views in kinds.items()}
        names = ("params", "macs", "epochs", "val_accuracy", "train_seconds", "threads")
        return {"run": self.folder, "network": self.network, "seed": self.seed} | {
            **{"precision": self.precision},
            **{name: getattr(summary, name) for name in names},
            **tested,
        }


def jobs(options: argparse.Namespace) -> Iterator[Job]:
    """Yield what is asked for, the most important first."""

    def job(minutes: float, network: str, seed: int) -> Job:
        if options.epochs:
            return Job(network, options.epochs, seed, options.precision)
        return Job.within(minutes, network, seed, options.precision)

    if options.all or not options.families:
        minutes = options.minutes or MINUTES
        for seed in options.seeds or ((0, 1, 2) if minutes <= MINUTES else (0,)):
            yield job(minutes, NETWORK, seed)
    if options.all or options.families:
        for minutes in FAMILY_MINUTES:
            for network in FAMILIES.values():
                yield job(minutes, network, 0)
    if options.all:
        yield job(HOUR, NETWORK, 0)


def speed(name: str, data: Dataset, precision: str) -> float:
    """Return the seconds of an epoch: the mean over steps spread over a run, since its images grow."""
    options = {"precision": precision, "fused": compile_fused(precision)}
    config, network = plan(data, cw.network(name), name=RECIPE, recipe={"crop": CROP}, **options)
    learner, batches = make_learner(config, network, data), training_batches(config, data)
    times = []
    for step in range(-3, SPEED_STEPS):
        started = time.perf_counter()
        learner.train_step(*batches.at(max(0, step)), max(0, step), SPEED_STEPS)
        times.append(time.perf_counter() - started)
    return mean(times[3:]) * batches.steps_per_epoch


def show_speed(data: Dataset, precision: str) -> None:
    """Print the seconds of an epoch of each network, beside those that are reckoned with."""
    for name, reckoned in SECONDS[precision].items():
        cost = cw.cost(at(fit_resolution(cw.network(name), 28), channels=1, classes=10))
        took = speed(name, data, precision)
        print(
            f"{name:36} {cost.params:9,} parameters {cost.macs / 1e6:6.1f} M MACs {took:7.1f} s an epoch "
            f"({reckoned:g} reckoned with)",
            flush=True,
        )


def show_table(out: Path) -> None:
    """Print what has come out, as a table in Markdown; minutes are those of two idle cores."""
    print("| network | parameters | precision | minutes | epochs | seed | validation | test | with `--tta` |")
    print("|---|---:|---|---:|---:|---:|---:|---:|---:|")
    groups: dict[tuple[str, float, str], list[Row]] = {}
    for row in noted(out).values():
        groups.setdefault((row["network"], row["epochs"], row["precision"]), []).append(row)
    for (network, epochs, precision), rows in sorted(groups.items(), key=lambda item: (item[0][0] != NETWORK, item[0])):
        names = ("val_accuracy", "test", "test_tta")
        lines = [(str(row["seed"]), *(row[name] for name in names)) for row in sorted(rows, key=lambda r: r["seed"])]
        if len(rows) > 1:
            lines.append(("mean", *(mean(row[name] for row in rows) for name in names)))
        minutes = epochs * SECONDS[precision][network] / 60
        for seed, *accuracies in lines:
            shares = " | ".join(f"{value:.2%}".replace("%", " %") for value in accuracies)
            cell = network.replace("|", "\\|")
            first = f"| `{cell}` | {rows[0]['params']:,} | {precision} | {minutes:.1f} | {epochs:g} | {seed}"
            print(f"{first} | {shares} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/fashion-benchmark"), help="folder for the runs")
    parser.add_argument("--minutes", type=float, help=f"of two idle cores, {MINUTES:g} by default")
    parser.add_argument("--epochs", type=float, help="instead of what fits into the minutes, for all runs")
    parser.add_argument("--precision", choices=list(SECONDS), default="32-true", help="of products")
    parser.add_argument("--seeds", type=int, nargs="+", help="0 1 2 by default; 0 beyond 20 minutes")
    parser.add_argument("--families", action="store_true", help="accuracy against minutes")
    parser.add_argument("--all", action="store_true", help="three seeds, the families, and an hour")
    parser.add_argument("--speed", action="store_true", help="only measure the seconds of an epoch")
    parser.add_argument("--table", action="store_true", help="only show what has come out so far")
    options = parser.parse_args()
    if options.table:
        show_table(options.out)
        return
    print(f"{describe()}; torch {torch.__version__}, {torch.get_num_threads()} threads", flush=True)
    data = open_dataset("fashion-mnist")
    if options.speed:
        show_speed(data, options.precision)
        return
    for job in jobs(options):
        keep(options.out, job.folder, lambda job=job: job.run(options.out, data))
    show_table(options.out)


if __name__ == "__main__":
    try:
        main()
    except (Interrupted, ConvwrightError) as error:
        sys.exit(f"{error}" if isinstance(error, ConvwrightError) else "interrupted; the same command goes on")
