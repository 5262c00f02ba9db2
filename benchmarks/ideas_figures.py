"""Figures of docs/do-the-ideas-pay.md, from the raw results in benchmarks/results/ideas.json.

    python benchmarks/ideas_figures.py

Pictures need Chromium; pages are written to `--pages`.
"""

import argparse
import shutil
import subprocess
from pathlib import Path
from statistics import mean

from ideas import RESULTS, Results, effect_of, read, rows_of

from convwright.designing.ablation_figure import effects_figure
from convwright.display.figures import Figure, Panel, axis, colour, empty_plot, symbol
from convwright.display.pages import write_figures
from convwright.stats.means import mean_of_seeds

IMAGES = Path(__file__).resolve().parent.parent / "docs" / "images"
FAMILIES = ("ResNet", "DenseNet-BC")
WIDTH, HEIGHTS = 900, {"effects": 764, "curve": 790}


def curve_figure(results: Results) -> Figure | None:
    """Return accuracy against parameters of both families; None before there are two sizes of each."""
    groups = rows_of(results, "curve")
    longest = max((length for length, _ in groups), default=0.0)
    lines: dict[str, list[tuple[int, list[float]]]] = {family: [] for family in FAMILIES}
    for (length, network), rows in groups.items():
        if length == longest:
            lines[FAMILIES["dense" in network]].append((rows[0]["params"], [100 * row["test"] for row in rows]))
    if min(map(len, lines.values())) < 2:
        return None
    plot = empty_plot(
        height=420, x=axis(title="parameters", type="log", dtick="D2"), y=axis(title="test accuracy in percent")
    )
    for number, (family, points) in enumerate(lines.items()):
        points.sort()
        halves = [mean_of_seeds(values).margin or 0.0 for _, values in points]
        plot.add_scatter(
            x=[count for count, _ in points],
            y=[mean(values) for _, values in points],
            mode="lines+markers",
            name=family,
            line={"color": colour(number)},
            marker={"symbol": symbol(number), "size": 9},
            error_y={"type": "data", "array": halves, "color": colour(number)},
        )
    seeds = len(next(iter(lines.values()))[0][1])
    bars = f" Bars are Student's 95 % intervals over {seeds} seeds." if seeds > 1 else ""
    return Figure(
        "curve",
        "Accuracy against parameters",
        f"Fashion-MNIST, 10,000 training images, {longest:g} epochs for each network.{bars}",
        (Panel("DenseNet-BC and ResNet", plot, "Test accuracy against the number of parameters."),),
        keys=tuple((colour(number), family) for number, family in enumerate(FAMILIES)),
    )


def figures(results: Results) -> dict[str, Figure]:
    """Return the figures by the names of their files."""
    found = {}
    for row in results.values():
        if row["part"] == "ablation":
            effects = [effect_of(each) for each in row["ablation"]["effects"]]
            found[f"ideas-effects-{row['data']}"] = effects_figure(effects, row["ablation"]["split"])
    if (curve := curve_figure(results)) is not None:
        found["ideas-curve"] = curve
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=Path, default=Path("runs/ideas/pages"))
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--images", type=Path, default=IMAGES, help="where the pictures go")
    options = parser.parse_args()
    options.pages.mkdir(parents=True, exist_ok=True)
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    for name, figure in figures(read(options.results)).items():
        page = options.pages / f"{name}.html"
        title = name.removeprefix("ideas-effects-") if "effects" in name else "Do dense connections improve accuracy?"
        write_figures(page, title=title, summary="", figures=[figure])
        print(page)
        if browser is None:
            continue
        picture = options.images / f"{name}.png"
        height = next(value for key, value in HEIGHTS.items() if key in name)
        shot = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=5000"]
        shot += [f"--screenshot={picture.absolute()}", f"--window-size={WIDTH},{height}", page.absolute().as_uri()]
        subprocess.run([browser, *shot], check=True, capture_output=True)
        print(picture)


if __name__ == "__main__":
    main()
