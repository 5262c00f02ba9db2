"""`convwright explain excitation`: what squeeze-and-excitation does in a trained network, and what it is worth."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convwright.arch.units import human
from convwright.cli.output import echo, print_json
from convwright.display.table import paragraph, table
from convwright.errors import UsageError
from convwright.printable import printable, quoted

if TYPE_CHECKING:
    import torch

    from convwright.data import Dataset
    from convwright.explain.dropping import By, DropStep
    from convwright.explain.excitation import Excitations
    from convwright.prediction.network import Predictor
    from convwright.training.run import Run

SAMPLE = 4096
"""Training images, at most, over which the means that are folded into the weights are taken."""


def excitation(
    run: Annotated[Path, typer.Argument(help="A run directory of a network with squeeze-and-excitation.")],
    classes: Annotated[
        str | None, typer.Option(help="Classes to draw, by name, with commas; 7 at most, 4 by default.")
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(help="A channel whose mean excitation is at least this is saturated; 0.9.")
    ] = None,
    split: Annotated[str, typer.Option(help="Images to measure excitations and accuracy on, val or test.")] = "val",
    drop: Annotated[
        bool, typer.Option("--drop", help="Take squeeze-and-excitation out step by step, and measure each step.")
    ] = False,
    by: Annotated[
        str | None,
        typer.Option(
            help="With --drop: the last stage first (stages, the default), or the least useful block (blocks)."
        ),
    ] = None,
    save: Annotated[int | None, typer.Option(help="With --drop: write the network after this step as a run.")] = None,
    out: Annotated[Path | None, typer.Option(help="Page of the figures (.html); with --save, the new run.")] = None,
    html: Annotated[Path | None, typer.Option(help="Page of the figures, also with --save.")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or auto.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print all figures as JSON.")] = False,
) -> None:
    """Draw SENet's Figures 6 and 7: how each block gates its channels, for images of which class, and how surely."""
    from convwright.cli.explain_inputs import check_html
    from convwright.cli.runs import check_run_folder
    from convwright.explain.excitation import NEAR_ONE, chosen_classes
    from convwright.prediction.network import load
    from convwright.training.run import Run

    threshold = NEAR_ONE if threshold is None else threshold
    _check(drop, by, save, out, html, split, threshold)
    page = html if save is not None else html or out
    check_html(page)
    if save is not None and out is not None:
        check_run_folder(out)
    predictor, opened = load(run, device), Run.open(run)
    wanted = None if classes is None else _names(classes)
    chosen_classes(predictor.classes, wanted)  # names are told before images are read, and classes without any after
    order = (by or "stages") if drop else None
    found, shown, steps = _measured(opened, predictor, split, wanted, order, save)  # type: ignore[arg-type]
    if save is not None and out is not None:
        from convwright.explain.dropped_run import write_run

        write_run(opened, steps[save], out)
    if page is not None:
        from convwright.explain.excitation_figures import excitation_figures
        from convwright.reporting.explain_page import write_explain_page

        figures = list(excitation_figures(found, shown, threshold, steps))
        write_explain_page(page, f"Excitations of {found.network}", _summary(found, threshold), figures)
    if as_json:
        print_json(_object(found, steps, run, threshold))
        return
    echo(_described(found, shown, steps, threshold))
    if save is not None:
        echo(f"step {save} is written to {printable(out)}; try: convwright evaluate {quoted(out)}")


def _names(text: str) -> list[str]:
    names = list(filter(None, map(str.strip, text.split(","))))
    if not names:
        raise UsageError("--classes takes names with commas between them; none is given")
    return names


def _check(
    drop: bool, by: str | None, save: int | None, out: Path | None, html: Path | None, split: str, threshold: float
) -> None:
    if split not in ("val", "test"):
        raise UsageError(f"--split is val or test, not {split!r}")
    if not 0 < threshold <= 1:
        raise UsageError(f"--threshold is above 0 and at most 1, not {threshold:g}")
    if by not in (None, "stages", "blocks"):
        raise UsageError(f"--by is stages or blocks, not {by!r}")
    if by is not None and not drop:
        raise UsageError("--by tells how to --drop; give --drop too")
    if save is not None and not drop:
        raise UsageError("--save chooses a step of --drop; give --drop too")
    if save is not None and split != "val":
        raise UsageError("--save takes a step measured on validation images; leave out --split")
    if save is not None and out is None:
        raise UsageError("--save writes a run; say where with --out RUN")
    if save is None and out is not None and html is not None:
        raise UsageError("--out and --html both name the page; give one of them")


def _measured(
    run: "Run", predictor: "Predictor", split: str, wanted: list[str] | None, by: "By | None", save: int | None
) -> "tuple[Excitations, tuple[int, ...], list[DropStep]]":
    """Measure excitations on the split, and where they are to be dropped, the accuracy of each step on it.

    The classes that are drawn are chosen among those that the split has images of.
    """
    from convwright.cli.explain_inputs import measuring
    from convwright.display.progress import counting
    from convwright.explain.dropping import count_steps, drop_steps
    from convwright.explain.excitation import chosen_classes
    from convwright.explain.excitation_gates import gates
    from convwright.training.run_data import open_run_data

    gates(predictor.module)  # a network without any is told before images are read
    steps = 0 if by is None else count_steps(predictor.network, by)
    if save is not None and not 0 < save <= steps:
        raise UsageError(f"--save takes a step from 1 to {steps}, not {save}")
    data = open_run_data(run)
    with counting() as progress:
        found = _excitations(predictor, data, split, progress)
        shown = chosen_classes(found.classes, wanted, found.counts)
        if by is None:
            return found, shown, []
        means = _excitations(predictor, data, "train", progress)
    with measuring(run, predictor, split, steps + 1, data) as bench:
        return found, shown, list(drop_steps(predictor.network, predictor.module, means, bench.measure, by))  # type: ignore[arg-type]


def _excitations(predictor: "Predictor", data: "Dataset", split: str, progress: Any) -> "Excitations":
    import torch

    from convwright.explain.excitation import run_excitations

    images = {"val": data.val, "test": data.test, "train": data.train}[split]
    if images is None:
        raise UsageError(f"{data.name} has no test split; measure on --split val")
    if split == "train" and len(images) > SAMPLE:
        images = images.choose(torch.linspace(0, len(images) - 1, SAMPLE).long())
    done = 0

    def tell(some: int) -> None:
        nonlocal done
        done += some
        progress(done, len(images), f"measuring excitations on {split} images")

    return run_excitations(predictor, data, images, split, tell)


def _summary(found: "Excitations", threshold: float) -> str:
    first, last = found.blocks[0], found.blocks[-1]
    told = (
        f"{len(found.blocks)} gates, measured on {found.images:,} {found.split} images. From the first to the last, "
        f"the share of channels gated at {threshold:g} or more goes from {first.saturation(threshold):.0%} to "
        f"{last.saturation(threshold):.0%}"
    )
    if first.specificity is None or last.specificity is None:
        return f"{told}; there are too few images a class to tell how class-specific they are."
    return (
        f"{told}, and the share of variance that lies between classes from {first.specificity:.2f} to "
        f"{last.specificity:.2f}."
    )


def _described(found: "Excitations", shown: Sequence[int], steps: "Sequence[DropStep]", threshold: float) -> str:
    from convwright.explain.excitation import DEFINITION

    rows = [
        (
            block.name,
            f"{block.channels:,}",
            f"{float(block.overall.mean()):.3f}",
            *(f"{float(block.mean[index].mean()):.3f}" for index in shown),
            f"{block.spread:.4f}",
            f"{block.saturation(threshold):.0%}",
            "-" if block.specificity is None else f"{block.specificity:.2f}",
            "",
        )
        for block in found.blocks
    ]
    names = [found.classes[index] for index in shown]
    titles = ("gate", "channels", "mean", *names, "spread", "saturated", "class-specific", "")
    lines = [f"{found.network}: {_summary(found, threshold)}", "", table(titles, rows), ""]
    lines.append(paragraph(f"{DEFINITION} Near one: {threshold:g} or more. Means by class are over channels."))
    if steps:
        lines += ["", _drop_table(steps, found.split)]
    return "\n".join(lines)


def _drop_table(steps: "Sequence[DropStep]", split: str) -> str:
    from convwright.cli.explain_inputs import CHANGED, changed
    from convwright.explain.variants import SPLITS

    rows = [
        (
            str(step.step),
            step.without,
            f"{step.accuracy:.2%}",
            f"{step.interval[0]:.2%} to {step.interval[1]:.2%}",
            *changed(step.change),
            f"{step.params:,}",
            f"+{step.over_none:.1%}",
            human(step.macs),
            "yes" if not step.inexact else f"not {len(step.inexact)} of {len(step.blocks)}",
            "",
        )
        for step in steps
    ]
    measured = ("accuracy", "95 % interval", "change", "95 % interval")
    titles = ("step", "SE dropped from", *measured, "parameters", "over no SE", "MACs", "exact", "")
    note = (
        f"Accuracy on {SPLITS[split]} images, without training again; MACs are multiply-adds. "
        f"{CHANGED.format('step 0')} In the place of each dropped "
        "gate its mean excitation over training images is folded into the weights around it: exact, unless something "
        "that cannot take the factors stands in the way (an identity shortcut); then the last normalisation of the "
        "body takes them, and the shortcut goes without."
    )
    return f"{table(titles, rows, left=2)}\n{paragraph(note)}"


def _object(found: "Excitations", steps: "Sequence[DropStep]", run: Path, threshold: float) -> dict[str, Any]:
    from convwright.cli.explain_inputs import change_facts
    from convwright.explain.excitation import DEFINITION

    return {
        "run": str(run),
        "network": found.network,
        "definition": DEFINITION,
        "split": found.split,
        "images": found.images,
        "threshold": threshold,
        "classes": found.classes,
        "blocks": [
            {
                "name": block.name,
                "channels": block.channels,
                "images": block.counts.tolist(),
                "mean": _rows(block.mean, block.present),
                "std": _rows(block.std, block.present),
                "overall": block.overall.tolist(),
                "spread": block.spread,
                "variation": block.variation,
                "saturation": block.saturation(threshold),
                "specificity": block.specificity,
            }
            for block in found.blocks
        ],
        "drop": [
            {
                "step": step.step,
                "without": step.without,
                "blocks": step.blocks,
                "inexact": step.inexact,
                "network": step.network.name,
                "split": found.split,
                "accuracy": step.accuracy,
                "interval": step.interval,
                **change_facts(step.change),
                "params": step.params,
                "macs": step.macs,
                "over_none": step.over_none,
            }
            for step in steps
        ],
    }


def _rows(values: "torch.Tensor", present: "torch.Tensor") -> list[list[float] | None]:
    """Return a list of channels a class; None for a class without images."""
    return [row if there else None for row, there in zip(values.tolist(), present.tolist(), strict=True)]
