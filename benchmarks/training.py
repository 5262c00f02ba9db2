"""Training speed on a CPU: torch's operators, fused operators and timm's networks, each in new processes, in turns.

    python benchmarks/training.py                        all four networks, one thread and two
    python benchmarks/training.py --networks densenet121 --threads 1 --rounds 1 --no-compile
    python benchmarks/training.py --progressive          what progressive resolution gains

A step is a forward pass, a backward pass and an SGD update. Wall-clock time and processor time are printed; where other
work shares the cores, processor time with one thread is the more reliable one. Ratios are those of the medians of each
round, with their median and range: to the fastest of timm's, or to "plain" if timm has no such network, or to the first
kind if that is left out too. Kinds in bfloat16 are compared with those in bfloat16.
"""

import argparse
import json
import multiprocessing
import shutil
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from machine import describe
from torch import nn

import convwright as cw
from convwright.arch import at, fit_resolution, regularise
from convwright.training.allocator import keep_freed_memory

NETWORKS = {"cifar_resnet14": (28, 1, 128), "efficientnet_b0": (224, 3, 16), "densenet121": (224, 3, 16)}
NETWORKS["seresnet50"] = (224, 3, 16)
"""Resolution, channels and images per step."""
PEERS = ("timm", "timm, channels last", "timm, channels last, bfloat16", "timm, torch.compile")
KEPT = "plain, memory kept"
"""Plain operators with the malloc settings of fused ones, to measure the effect of these settings alone."""
OURS = ("plain", KEPT, "fused", "fused, memory-efficient")
OTHER_PRECISION = ("plain, bfloat16", "fused, bfloat16")
UNITS = ("seconds", "processor")
WARM_UP = 2


@dataclass(frozen=True)
class Job:
    """A network and how it is trained, measured in its own process."""

    network: str
    kind: str
    threads: int
    steps: int


def module_of(job: Job) -> nn.Module:
    resolution, channels, _ = NETWORKS[job.network]
    if job.kind.startswith("timm"):
        import timm

        module = timm.create_model(job.network, num_classes=1000)
        return module if job.kind == "timm" else module.to(memory_format=torch.channels_last)
    network = at(fit_resolution(cw.network(job.network), resolution), channels=channels)
    network = regularise(network, dropout=None, stochastic_depth=0.0 if network.stochastic_depth else None)
    fused, memory_efficient = job.kind.startswith("fused"), "memory-efficient" in job.kind
    return cw.build(network, seed=0, fused=fused, memory_efficient=memory_efficient).to(
        memory_format=torch.channels_last
    )


def measure(job: Job) -> list[tuple[float, float]]:
    """Return wall-clock and processor time of each step in seconds."""
    torch.manual_seed(0)
    torch.set_num_threads(job.threads)
    # The settings of `convwright train`.
    if job.kind == KEPT or (job.kind.startswith("fused") and "memory-efficient" not in job.kind):
        keep_freed_memory()
    resolution, channels, batch = NETWORKS[job.network]
    module = module_of(job).train()
    optimizer = torch.optim.SGD(module.parameters(), 0.01, 0.9, nesterov=True)
    run = torch.compile(module) if "compile" in job.kind else module
    images = torch.randn(batch, channels, resolution, resolution)
    if job.kind != "timm":
        images = images.contiguous(memory_format=torch.channels_last)
    labels = torch.randint(0, 10, (batch,))
    times = []
    for _ in range(WARM_UP + job.steps):
        clock, processor = time.perf_counter(), time.process_time()
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled="bfloat16" in job.kind):
            logits = run(images)
        nn.functional.cross_entropy(logits.float(), labels).backward()
        optimizer.step()
        times.append((time.perf_counter() - clock, time.process_time() - processor))
    return times[WARM_UP:]


def compare(network: str, threads: int, rounds: int, steps: int, kinds: list[str]) -> dict[str, dict[str, Any]]:
    """Measure all kinds in turns; return the medians of each round, in wall-clock and processor time."""
    found: dict[str, dict[str, Any]] = {kind: {"seconds": [], "processor": []} for kind in kinds}
    for _ in range(rounds):
        for kind in kinds:
            with multiprocessing.get_context("spawn").Pool(1) as pool:  # malloc's settings must not be inherited
                times = pool.apply(measure, (Job(network, kind, threads, steps),))
            for unit, values in zip(UNITS, zip(*times, strict=True), strict=True):
                found[kind][unit].append(median(values))
    for kind, row in found.items():
        row["images_per_second"] = NETWORKS[network][2] / median(row["seconds"])
        for unit in UNITS:
            row[f"{unit}_ratio"] = times_as_fast(found, kind, unit)
    return found


def references(kind: str, kinds: Iterable[str]) -> list[str]:
    """Return the kinds that a kind is compared with: timm's in the same precision, else plain, else the first one."""
    bits, kinds = "bfloat16" in kind, list(kinds)
    peers = [peer for peer in kinds if peer in PEERS and ("bfloat16" in peer) == bits]
    plain = "plain, bfloat16" if bits else "plain"
    return peers or [plain if plain in kinds else kinds[0]]


def times_as_fast(found: dict[str, dict[str, Any]], kind: str, unit: str) -> dict[str, Any]:
    """Return the speed-up of a kind over the fastest of its references: the median over rounds, and the range."""
    reference = min(references(kind, found), key=lambda each: median(found[each][unit]))
    ratios = [other / own for other, own in zip(found[reference][unit], found[kind][unit], strict=True)]
    return {"of": reference, "median": median(ratios), "least": min(ratios), "most": max(ratios)}


def show(network: str, threads: int, found: dict[str, dict[str, Any]]) -> None:
    print(f"\n{network}, {threads} thread{'s' if threads > 1 else ''}")
    for kind, row in found.items():
        cells = []
        for unit, name in zip(UNITS, ("", "processor time "), strict=True):
            ratio = row[f"{unit}_ratio"]
            cells.append(
                f"{name}{1e3 * median(row[unit]):8.0f} ms ({ratio['median']:4.2f} times as fast as {ratio['of']}, "
                f"{ratio['least']:4.2f} to {ratio['most']:4.2f})"
            )
        print(f"  {kind:30} {', '.join(cells)}, {row['images_per_second']:7.1f} images/s", flush=True)


def progressive(out: Path, epochs: float) -> list[dict[str, object]]:
    """Train with and without progressive resolution: for the same epochs, and for the same processor time."""
    data = cw.open_data("fashion-mnist")
    rows: list[dict[str, object]] = []
    ratio = 1.0
    for share, length in ((0.6, epochs), (0.0, epochs), (0.0, None)):
        chosen = epochs * ratio if length is None else length
        path = out / f"progressive-{share:g}-{chosen:.4f}"
        kept = out / f"{path.name}.json"  # its processor time, for a second start of this command
        if not (path / "summary.json").exists() or not kept.exists():
            shutil.rmtree(path, ignore_errors=True)
            started = time.process_time()
            cw.train(
                data,
                network="cifar_resnet14",
                recipe="fast",
                crop=2,
                progressive=share,
                epochs=chosen,
                seed=0,
                out=path,
            )
            kept.write_text(json.dumps({"seconds": time.process_time() - started}) + "\n", encoding="utf-8")
        took = json.loads(kept.read_text(encoding="utf-8"))["seconds"]
        rows.append({"progressive": share, "epochs": chosen, "seconds": took} | {
            "val_accuracy": cw.open_run(path).summary.val_accuracy
        })  # fmt: skip
        print(json.dumps(rows[-1]), flush=True)
        if len(rows) == 2:
            ratio = float(rows[0]["seconds"]) / float(rows[1]["seconds"])  # type: ignore[arg-type]
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--rounds", type=int, default=3, help="processes of each kind")
    parser.add_argument("--steps", type=int, default=5, help="timed steps of each process")
    every = (*PEERS, *OURS, *OTHER_PRECISION)
    parser.add_argument("--without", nargs="+", default=[], choices=every, metavar="KIND", help="kinds to leave out")
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out, which takes minutes")
    parser.add_argument("--progressive", action="store_true", help="measure progressive resolution instead")
    parser.add_argument("--epochs", type=float, default=1.0, help="epochs of the runs with --progressive")
    parser.add_argument("--out", type=Path, default=Path("runs/training-benchmark"))
    options = parser.parse_args()
    print(f"{describe()}; torch {torch.__version__}", flush=True)
    options.out.mkdir(parents=True, exist_ok=True)
    if options.progressive:
        rows = progressive(options.out, options.epochs)
        (options.out / "progressive.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
        return
    results = []
    for network in options.networks:
        peers = () if network == "cifar_resnet14" else PEERS[: -1 if options.no_compile else None]
        for threads in options.threads:
            kinds = [kind for kind in (*peers, *OURS, *OTHER_PRECISION) if kind not in options.without]
            if not kinds:
                parser.error(f"--without leaves no kind of {network}")
            found = compare(network, threads, options.rounds, options.steps, kinds)
            show(network, threads, found)
            results += [asdict(Job(network, kind, threads, options.steps)) | row for kind, row in found.items()]
            (options.out / "training.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
