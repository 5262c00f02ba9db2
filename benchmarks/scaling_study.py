"""The study of docs/compound-scaling-study.md: search and families on Fashion-MNIST, and its figures.

    python benchmarks/scaling_study.py --out studies/fashion   about 40 minutes of two idle cores; can be stopped
    python benchmarks/scaling_study.py --redraw                pages and pictures from the results in docs/data

Stopped or killed, the same command resumes it. Results are copied to docs/data; pictures need Chromium.
"""

import argparse
import json
import shutil
import subprocess
from pathlib import Path

import convwright as cw
from convwright.scaling.findings import Findings
from convwright.scaling.page import write_scaling_page

DOCS = Path(__file__).resolve().parent.parent / "docs"
BASE, DATA = "cifar_resnet14", "fashion-mnist"
OPTIONS = {
    "resolution": 14,
    "fields": {"progressive": 0},
    "precision": "bf16-mixed",
    "workers": 2,
    "epochs": 1.5,
    "seeds": 3,
}
WINDOW = {"search": (900, 1150), "family": (1250, 1000)}


def run(out: Path) -> None:
    """Run search and family, or what is left of them, and keep their results."""
    cw.search(BASE, DATA, step=0.05, rungs=2, out=out / "search", **OPTIONS)
    cw.family(BASE, phi=2).train(DATA, out=out / "family", **OPTIONS)
    for name in WINDOW:
        keep(out / name / f"{name}.json", DOCS / "data" / f"scaling-{name}.json")


def keep(source: Path, target: Path) -> None:
    """Copy results, every training on a line of its own, so that the file stays small and can be compared."""
    found = json.loads(source.read_text(encoding="utf-8"))
    target.parent.mkdir(exist_ok=True)
    lists = ("networks", "comparisons", "overall", "trainings")
    parts = [f" {json.dumps(name)}: {json.dumps(value)}" for name, value in found.items() if name not in lists]
    for name in lists:
        rows = ",\n".join(f"  {json.dumps(row)}" for row in found[name])
        parts.append(f" {json.dumps(name)}: [\n{rows}\n ]")
    target.write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="utf-8")


def redraw(pages: Path) -> None:
    """Write the pages of the results in docs/data, and the pictures in docs/images."""
    pages.mkdir(parents=True, exist_ok=True)
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    for name, (width, height) in WINDOW.items():
        page = pages / f"{name}.html"
        found = json.loads((DOCS / "data" / f"scaling-{name}.json").read_text(encoding="utf-8"))
        write_scaling_page(page, Findings.from_dict(found))
        print(page)
        if browser is None:
            continue
        picture = DOCS / "images" / f"scaling-{name}.png"
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=5000"]
        options += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
        shot = [f"--screenshot={picture.absolute()}", f"--window-size={width},{height}"]
        subprocess.run([browser, *options, *shot, page.absolute().as_uri()], check=True, capture_output=True)
        print(picture)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("studies/fashion"), help="where the studies are")
    parser.add_argument("--redraw", action="store_true", help="train nothing; draw what docs/data holds")
    options = parser.parse_args()
    if not options.redraw:
        run(options.out)
    redraw(options.out / "pages")


if __name__ == "__main__":
    main()
