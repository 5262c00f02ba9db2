"""The study of docs/do-the-ideas-pay.md: do dense connections, squeeze-and-excitation and compound scaling pay?

    python benchmarks/ideas.py --hours 1            all of it in about an hour of one core; 3 for the full study
    python benchmarks/ideas.py --only curve         one part of it
    python benchmarks/ideas.py --table              only show what has come out so far
    python benchmarks/ideas.py --keep               copy the raw results to benchmarks/results/ideas.json, and
                                                    their tables into docs/do-the-ideas-pay.md

Parts, in the order in which they are run:

- ablation: `convwright ablate` of ResNet-14 on 10,000 images of Fashion-MNIST and on emoji: SE, dense connections at
  equal parameters, compound scaling against depth, width and resolution alone at equal MACs; five seeds.
- curve: test accuracy against parameters of DenseNet-BC and ResNet, four sizes each, three seeds, equal images seen.
- se: SENet's tables of reduction ratios, placements and stages, on ResNet-14, three seeds.

Each training run is a process of its own on the last core, with one thread. Its time is that of the processor, with
reading data and without the test; that of an ablation is of a clock. `--hours` scales the epochs. What has ended is
kept in `OUT/results.json` and is not run again; an ablation that was stopped continues. Test images choose nothing.
"""

import argparse
import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any

from image_sets import prepared

if TYPE_CHECKING:
    from convwright.designing.effect import Effect

RESULTS = Path(__file__).resolve().parent / "results" / "ideas.json"
PAGE = Path(__file__).resolve().parent.parent / "docs" / "do-the-ideas-pay.md"
BEGIN, END = "<!-- tables of ideas.py begin -->", "<!-- tables of ideas.py end -->"
"""Lines of the page between which the tables are."""
PARTS = ("ablation", "curve", "se")
BASE = "cifar_resnet14"
SMALL_FASHION = "fashion-mnist-10k"
COMMON: dict[str, Any] = {"recipe": "fast", "batch_size": 64, "precision": "bf16-mixed"}
SGD = {"optimizer": "sgd", "learning_rate": 0.1, "weight_decay": 3e-4}
"""The optimizer of `fast` when the study began."""
FIELDS = {"progressive": 0.0} | SGD
"""Changed fields of the recipe: images are never shrunk at first, which would mix resolutions."""
ABLATION_SEEDS, SEEDS = 5, (0, 1, 2)
ABLATED = {SMALL_FASHION: 2.0, "emoji": 4.0}
"""Epochs of the training runs of an ablation, in a study of an hour."""
EPOCHS = 2.5
"""Of other training runs, in a study of an hour."""
CURVE = {
    "ResNet": (f"{BASE}|scale:w=0.35", f"{BASE}|scale:w=0.5", f"{BASE}|scale:w=0.7", BASE, "cifar_resnet20"),
    "DenseNet-BC": ("densenet_bc_l16_k8", "densenet_bc_l22_k8", "densenet_bc_l22_k12", "densenet_bc_l40_k12"),
}
SE = {
    "no SE": BASE,
    "ratio 2": f"{BASE}|se:2",
    "ratio 4": f"{BASE}|se:4",
    "ratio 8": f"{BASE}|se:8",
    "ratio 16": f"{BASE}|se:16",
    "ratio 32": f"{BASE}|se:32",
    "SE, placement pre": f"{BASE}|se:4,placement=pre",
    "SE, placement post": f"{BASE}|se:4,placement=post",
    "SE, placement identity": f"{BASE}|se:4,placement=identity",
    "stage 1": f"{BASE}|se:4,stages=1",
    "stage 2": f"{BASE}|se:4,stages=2",
    "stage 3": f"{BASE}|se:4,stages=3",
}

ACCURACY = "test accuracy, % (mean ± 95 % interval over seeds)"
"""Title of a column."""
NAMES = {
    "base": "base (no SE)",
    "SE before the block": "SE, placement pre",
    "depth alone": "depth only",
    "width alone": "width only",
    "resolution alone": "resolution only",
}
"""How the tables show the stored names of variants and comparisons."""

Results = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Job:
    """An ablation, or a training run."""

    part: str
    data: str
    network: str
    seed: int
    length: float
    """Epochs of each training run."""

    @property
    def key(self) -> str:
        """Name in the results."""
        return f"{self.part}/{self.data}/{self.network}/{self.length:g}/seed {self.seed}"

    @property
    def folder(self) -> str:
        """Name of the folder of an ablation, or of the run."""
        return "".join(letter if letter.isalnum() or letter in ".-" else "_" for letter in self.key)


def jobs(hours: float, parts: list[str]) -> Iterator[Job]:
    """Yield the jobs of a study, the most valuable first."""
    epochs = float(f"{EPOCHS * hours:.2g}")
    if "ablation" in parts:
        for data, length in ABLATED.items():
            yield Job("ablation", data, BASE, 0, float(f"{length * hours:.2g}"))
    for seed in SEEDS:
        for part, networks in (("curve", sum(CURVE.values(), ())), ("se", tuple(SE.values()))):
            if part in parts:
                for network in networks:
                    yield Job(part, SMALL_FASHION, network, seed, epochs)


def ablation(job: Job, out: Path) -> dict[str, Any]:
    """Run or continue an ablation, and return its result."""
    import convwright as cw

    found = cw.ablate(
        out / "data" / job.data,
        job.network,
        epochs=job.length,
        seeds=ABLATION_SEEDS,
        fields=FIELDS,
        out=out / "runs" / job.folder,
        **COMMON,
    )
    return {"seconds": sum(each.seconds for each in found.results.values()), "ablation": found.to_dict()}


def training(job: Job, out: Path) -> dict[str, Any]:
    """Train, and return costs and accuracies."""
    import convwright as cw

    folder = out / "runs" / job.folder
    shutil.rmtree(folder, ignore_errors=True)
    data = out / "data" / job.data
    options: dict[str, Any] = {"epochs": job.length, "seed": job.seed, "progress": False} | COMMON | FIELDS
    run = cw.train(data, network=job.network, out=folder, **options)
    seconds = time.process_time()
    summary, tested = run.summary, run.evaluate()
    shutil.rmtree(folder)
    return {
        "seconds": round(seconds, 1),
        "params": summary.params,
        "macs": summary.macs,
        "validation": summary.val_accuracy,
        "test": tested.accuracy,
        "images": tested.images,
    }


def child(text: str, out: Path) -> None:
    """Carry out a job in this process on one core, and write its result."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    job = Job(**json.loads(text))
    found = ablation(job, out) if job.part == "ablation" else training(job, out)
    (out / "child.json").write_text(json.dumps(found), encoding="utf-8")


def run(job: Job, out: Path) -> dict[str, Any]:
    """Carry out a job in a process of its own, and return its result with what was run."""
    prepared(job.data, out)
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    command = [sys.executable, str(Path(__file__).absolute()), "--out", str(out), "--child", json.dumps(vars(job))]
    subprocess.run(command, check=True, env=os.environ | threads)
    found: dict[str, Any] = json.loads((out / "child.json").read_text(encoding="utf-8"))
    return vars(job) | found


def write(results: Results, path: Path) -> None:
    """Replace the file of results at once, with a line for each."""
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_suffix(".half")
    rows = ",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in results.items())
    half.write_text("{\n" + rows + "\n}\n", encoding="utf-8")
    half.replace(path)


def read(path: Path) -> Results:
    """Return the results of a file; none if there is no file."""
    found: Results = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return found


def rows_of(results: Results, part: str) -> dict[tuple[float, str], list[dict[str, Any]]]:
    """Return the results of a part by length and network."""
    found: dict[tuple[float, str], list[dict[str, Any]]] = {}
    for row in results.values():
        if row["part"] == part:
            found.setdefault((row["length"], row["network"]), []).append(row)
    return found


def accuracy_cell(rows: list[dict[str, Any]]) -> str:
    """Return the mean accuracy with Student's interval, in percent."""
    from convwright.stats.means import mean_of_seeds

    found = mean_of_seeds([row["test"] for row in rows])
    return f"{100 * found.value:.2f}" + ("" if found.margin is None else f" ± {100 * found.margin:.2f}")


def effect_of(found: dict[str, Any]) -> "Effect":
    """Return an effect from its raw result, with the names that the tables show."""
    from convwright.designing.ablation import Idea
    from convwright.designing.effect import Effect
    from convwright.stats.means import Mean

    with_it, without = (NAMES.get(found[side], found[side]) for side in ("with", "without"))
    name = NAMES.get(found["idea"], found["idea"])
    if found["paper"] == "EfficientNet":
        name = f"Compound scaling compared with {found['without'].removesuffix(' alone')}-only scaling"
    idea = Idea(name, found["paper"], with_it, without, found["equal"])
    lead = Mean(found["difference"], found.get("margin", found.get("half")), found["seeds"])
    return Effect(idea, lead, found["macs_ratio"], found["params_ratio"])


def show_ablations(results: Results) -> None:
    """Print variants and sentences of the ablations."""
    for row in results.values():
        if row["part"] != "ablation":
            continue
        found = row["ablation"]
        print(f"\nAblation of {row['network']} on {row['data']}, {found['epochs']:g} epochs, {found['seeds']} seeds\n")
        print(f"| variant | resolution (px) | parameters | MACs | {ACCURACY} |\n|---|---:|---:|---:|---:|")
        for each in found["variants"]:
            seeds = [{"test": value} for value in each["accuracies"].values()]
            cells = (
                NAMES.get(each["name"], each["name"]),
                each["resolution"],
                f"{each['params']:,}",
                f"{each['macs'] / 1e6:.1f} M",
            )
            print(f"| {' | '.join(map(str, cells))} | {accuracy_cell(seeds)} |")
        print()
        for effect in found["effects"]:
            print(f"- {effect_of(effect).sentence}")


def show_curve(results: Results) -> None:
    """Print accuracy against parameters."""
    for (length, network), rows in sorted(
        rows_of(results, "curve").items(), key=lambda item: (item[0][0], "dense" in item[0][1], item[1][0]["params"])
    ):
        count = f"{rows[0]['params']:,} | {rows[0]['macs'] / 1e6:.1f} M"
        seconds = mean(row["seconds"] for row in rows)
        name = network.replace("|", "\\|")
        print(f"| `{name}` | {length:g} | {count} | {accuracy_cell(rows)} | {len(rows)} | {seconds:.0f} s |")


def show_se(results: Results) -> None:
    """Print the table of SE, with paired differences to no SE that hold for all rows together."""
    from convwright.stats.means import difference

    found = rows_of(results, "se")
    for length in sorted({key[0] for key in found}):
        scores = {key[1]: {row["seed"]: row["test"] for row in rows} for key, rows in found.items() if key[0] == length}
        for name, network in SE.items():
            rows = found.get((length, network))
            if rows is None:
                continue
            gain = ""
            if network != BASE and scores.get(BASE, {}).keys() & scores[network].keys():
                lead = difference(scores[network], scores[BASE], len(SE) - 1)
                gain = f"{100 * lead.value:+.2f}" + ("" if lead.margin is None else f" ± {100 * lead.margin:.2f}")
            count = f"{rows[0]['params']:,} | {rows[0]['macs'] / 1e6:.2f} M"
            print(f"| {name} | {length:g} | {count} | {accuracy_cell(rows)} | {gain} | {len(rows)} |")


def show(results: Results) -> None:
    """Print what has come out, as tables in Markdown."""
    show_ablations(results)
    if rows_of(results, "curve"):
        print(f"\nAccuracy against parameters on {SMALL_FASHION}; time of one training run\n")
        print(f"| network | epochs | parameters | MACs | {ACCURACY} | seeds | CPU time |")
        print("|---|---:|---:|---:|---:|---:|---:|")
        show_curve(results)
    if rows_of(results, "se"):
        print(f"\nRatios, placements and stages of SE in {BASE} on {SMALL_FASHION}\n")
        print(f"| SE | epochs | parameters | MACs | {ACCURACY} | difference to no SE, percentage points | seeds |")
        print("|---|---:|---:|---:|---:|---:|---:|")
        show_se(results)
    print(f"\n{sum(row['seconds'] for row in results.values()) / 60:.0f} minutes of CPU time in total")


def published(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row whose data have their name alone, not the folder that they were in."""
    from convwright.places import without_folders

    if ablation := row.get("ablation"):
        return row | {"ablation": ablation | {"data": without_folders(ablation["data"])}}
    return row


def keep(results: Results) -> None:
    """Copy the results into the repository, and their tables with the figures that exist into the page."""
    write({key: published(row) for key, row in results.items()}, RESULTS)
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        show(results)
    pictures = [f"![{name.stem}](images/{name.name})" for name in sorted((PAGE.parent / "images").glob("ideas-*.png"))]
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    parts = [BEGIN, text.getvalue().strip(), *pictures, END]
    PAGE.write_text(before + "\n\n".join(parts) + after, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/ideas"))
    parser.add_argument("--hours", type=float, default=1.0, help="of one core, for all parts")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=[*PARTS])
    parser.add_argument("--table", action="store_true", help="only show what has come out so far")
    parser.add_argument("--keep", action="store_true", help=f"copy results to {RESULTS.name} and {PAGE.name}")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    out = options.out.absolute()
    if options.child:
        child(options.child, out)
        return
    path = out / "results.json"
    if not (options.table or options.keep):
        from machine import describe

        print(f"{describe()}; one core", flush=True)
        for job in jobs(options.hours, options.only):
            if job.key in read(path):
                continue
            try:
                found = run(job, out)
            except subprocess.CalledProcessError as error:
                print(f"{job.key}: failed with status {error.returncode}", flush=True)
                continue
            write(read(path) | {job.key: found}, path)
            print(f"{job.key}: {found['seconds']:.0f} s, {found.get('test', '')}", flush=True)
    results = read(path)
    if options.keep:
        keep(results)
    show(results or read(RESULTS))


if __name__ == "__main__":
    main()
