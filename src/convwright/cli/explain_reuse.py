"""`convwright explain reuse`: which layers of a densely connected network read whose maps, and what cutting costs."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convwright.arch.units import human, share
from convwright.cli.output import echo, print_json
from convwright.csv_text import csv_table
from convwright.display.table import paragraph, table, terminal_width
from convwright.errors import UsageError

if TYPE_CHECKING:
    from convwright.explain.feature_reuse import BlockReuse, Reuse
    from convwright.explain.pruning import PruningStep
    from convwright.prediction.network import Predictor
    from convwright.training.run import Run

DRAWS = 3
CELL = 6
"""Characters that a value of the heat map takes in the terminal."""


def reuse(
    run: Annotated[Path, typer.Argument(help="A run directory of a network with dense blocks.")],
    with_norm: Annotated[
        bool, typer.Option("--with-norm", help="Fold the scale of the batch normalisation before a layer into it.")
    ] = False,
    prune: Annotated[
        str | None, typer.Option(help="Cut these shares of the connections, the weakest first: 0.1,0.2,0.4.")
    ] = None,
    draws: Annotated[
        int | None, typer.Option(help="With --prune: random cuts to compare with at each share; 3.")
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="With --prune: images to measure accuracy on, val (the default) or test.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "--html", help="Write the figures as a page (.html).")] = None,
    csv_file: Annotated[Path | None, typer.Option("--csv", help="Write every connection to this CSV file.")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or auto.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print the matrices as JSON.")] = False,
) -> None:
    """Draw DenseNet's Figure 5: how strongly each layer of a dense block weighs the maps of those before it."""
    from convwright.cli.explain_inputs import check_html, read_shares
    from convwright.cli.places import check_file

    shares = [] if prune is None else read_shares("--prune", prune)
    check_html(out)
    check_file("--csv", csv_file)
    _check(prune, draws, split)
    draws, split = DRAWS if draws is None else draws, split or "val"
    from convwright.explain.feature_reuse import feature_reuse
    from convwright.prediction.network import load
    from convwright.training.run import Run

    predictor = load(run, device)
    found = feature_reuse(predictor.network, predictor.module, with_norm=with_norm)
    steps = _pruned(Run.open(run), predictor, found, shares, draws, split) if shares else []
    if csv_file is not None:
        from convwright.files import write_text

        write_text(csv_file, _as_csv(found))
    if out is not None:
        from convwright.explain.reuse_figures import reuse_figures
        from convwright.explain.variants import SPLITS
        from convwright.reporting.explain_page import write_explain_page

        figures = list(reuse_figures(found, steps, SPLITS[split]))
        write_explain_page(out, f"Feature reuse in {found.network}", _summary(found), figures)
    if as_json:
        print_json(_object(found, steps, run, split))
    else:
        echo(_described(found, steps, split))


def _check(prune: str | None, draws: int | None, split: str | None) -> None:
    if split not in (None, "val", "test"):
        raise UsageError(f"--split is val or test, not {split!r}")
    if draws is not None and draws < 0:
        raise UsageError(f"there cannot be {draws} random draws")
    for option, value in (("--draws", draws), ("--split", split)):
        if prune is None and value is not None:
            raise UsageError(f"{option} is for measuring what cuts cost; give --prune too")


def _pruned(
    run: "Run", predictor: "Predictor", found: "Reuse", shares: list[float], draws: int, split: str
) -> "list[PruningStep]":
    from convwright.cli.explain_inputs import measuring
    from convwright.explain.pruning import prune_steps

    some = sum(share > 0 for share in shares)
    variants = 1 + some * (1 + draws)  # the whole network first, to compare with
    with measuring(run, predictor, split, variants) as bench:
        return list(prune_steps(predictor.network, predictor.module, found, shares, bench.measure, draws=draws))


def _summary(found: "Reuse") -> str:
    low = min(block.spread[0] for block in found.blocks)
    return (
        f"{len(found.connections)} dense connections in {len(found.blocks)} blocks. Relative to the strongest source "
        f"of the same layer, the weakest of all weighs {low:.2f}; by block, the average is "
        f"{', '.join(f'{block.spread[1]:.2f} ({block.name})' for block in found.blocks)}."
    )


def _described(found: "Reuse", steps: "Sequence[PruningStep]", split: str) -> str:
    rows = [
        (
            block.name,
            str(len(block.sources) - 1),
            str(sum(value is not None for row in block.raw for value in row)),
            f"{block.spread[0]:.2f}",
            f"{block.spread[1]:.2f}",
            f"{block.input_share:.2f}",
            "-" if block.lean is None else f"{block.lean:.2f}",
            block.targets[-1],
        )
        for block in found.blocks
    ]
    titles = ("dense block", "layers", "connections", "lowest", "mean", "input", "late / early", "followed by")
    lines = [f"{found.network}: {len(found.connections)} dense connections", "", table(titles, rows), ""]
    lines += [
        paragraph(
            "lowest, mean, input: weights relative to the strongest source of the same layer; the least, the average, "
            "and that of the block's input. late / early: what follows the block weighs the later half of its layers "
            "so many times as much as the earlier half."
        ),
        "",
    ]
    for block in found.blocks:
        lines += [_heat_map(block), ""]
    lines += [paragraph(found.definition)]
    if steps:
        lines += ["", _prune_table(steps, len(found.connections), split)]
    return "\n".join(lines)


def _heat_map(block: "BlockReuse") -> str:
    """The relative values of a block as a table, if a terminal is wide enough for it."""
    if 14 + (CELL + 2) * len(block.targets) > terminal_width():
        return f"{block.name}: {len(block.targets)} columns are too wide for this terminal; see --out, --csv and --json"
    titles = (
        f"{block.name} (relative)",
        *(f"to {name[-CELL:]}" if name.isdigit() else name for name in block.targets),
        "",
    )
    rows = [
        (f"from {source}", *("" if value is None else f"{value:.2f}" for value in values), "")
        for source, values in zip(block.sources, block.relative, strict=True)
    ]
    return table(titles, rows)


def _prune_table(steps: "Sequence[PruningStep]", every: int, split: str) -> str:
    from convwright.cli.explain_inputs import CHANGED, changed

    rows = []
    for step in steps:
        random = [cut.accuracy for cut in step.random]
        rows.append(
            (
                f"{step.share:.0%}",
                f"{step.cut} of {every}",
                f"{step.accuracy:.2%}",
                f"{step.interval[0]:.2%} to {step.interval[1]:.2%}",
                *changed(step.change),
                f"{sum(random) / len(random):.2%}" if random else "-",
                f"{min(random):.2%} to {max(random):.2%}" if random else "-",
                f"{step.params:,} (-{share(step.saving.params, step.params + step.saving.params)})",
                f"{human(step.macs)} (-{share(step.saving.macs, step.macs + step.saving.macs)})",
                "",
            )
        )
    measured = ("accuracy", "95 % interval", "change", "95 % interval", "random cuts", "their range")
    titles = ("cut", "connections", *measured, "parameters", "MACs", "")
    which = {"val": "validation", "test": "test"}[split]
    return (
        table(titles, rows)
        + "\n"
        + paragraph(
            f"Accuracy on {which} images, without training again. {CHANGED.format('the whole network')} "
            "Parameters and MACs (multiply-adds) are those of a network that does not read these maps; a random cut of "
            "as many connections saves others."
        )
    )


def _as_csv(found: "Reuse") -> str:
    rows: list[tuple[object, ...]] = [
        ("block", "source", "target", "maps", "raw", "l1", "normalised", "relative"),
    ]
    for block in found.blocks:
        relative = block.relative
        for column, reader in enumerate(block.targets):
            for each in (each for each in found.connections if (each.block, each.target) == (block.name, reader)):
                figures = (each.average, each.l1, each.normalised, relative[each.source][column])
                rows.append((block.name, each.source, each.target, each.maps, *(f"{value:.9g}" for value in figures)))
    return csv_table(rows)


def _object(found: "Reuse", steps: "Sequence[PruningStep]", run: Path, split: str) -> dict[str, Any]:
    from convwright.cli.explain_inputs import change_facts

    return {
        "run": str(run),
        "network": found.network,
        "definition": found.definition,
        "with_norm": found.with_norm,
        "blocks": [
            {
                **{name: getattr(block, name) for name in ("name", "sources", "targets", "maps")},
                **{name: getattr(block, name) for name in ("raw", "normalised", "relative")},
                "lowest": block.spread[0],
                "mean": block.spread[1],
                "input": block.input_share,
                "late_over_early": block.lean,
            }
            for block in found.blocks
        ],
        "prune": [
            {
                "share": step.share,
                "cut": step.cut,
                "connections": [{"block": e.block, "source": e.source, "target": e.target} for e in step.connections],
                "split": split,
                "accuracy": step.accuracy,
                "interval": step.interval,
                **change_facts(step.change),
                "params": step.params,
                "params_saved": step.saving.params,
                "macs": step.macs,
                "macs_saved": step.saving.macs,
                "random": [
                    {"seed": cut.seed, "accuracy": cut.accuracy}
                    | {"params_saved": cut.saving.params, "macs_saved": cut.saving.macs}
                    for cut in step.random
                ],
            }
            for step in steps
        ],
    }
