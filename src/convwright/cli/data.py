"""`convwright data`: what is in a data set, before a night of training is spent on it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from convwright.cli.output import echo, print_json
from convwright.cli.places import check_file
from convwright.display.table import emphasised, paragraph, table
from convwright.printable import printable

if TYPE_CHECKING:
    from convwright.data.survey import Survey

MOST_CLASSES = 40
MOST_DETAILS = 5


def data(
    path: Annotated[
        str, typer.Argument(help="A folder with a sub-folder per class, or fashion-mnist, cifar10, cifar100, digits.")
    ],
    html: Annotated[Path | None, typer.Option(help="Write a page with a contact sheet to this file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Look over a data set: counts, sizes, unreadable and duplicate images, leakage between splits."""
    check_file("--html", html)
    from convwright.data import findings
    from convwright.data.survey import survey
    from convwright.display.progress import counting
    from convwright.training.plan import default_batch_size

    with counting() as progress:
        seen = survey(path, progress)
    batch_size = default_batch_size(sum(seen.counts["train"]))
    if html is not None:
        from convwright.reporting.data_page import write_data_page

        write_data_page(html, seen, batch_size)
    if as_json:
        print_json(findings.as_json(seen) | {"suggested_batch_size": batch_size})
    else:
        echo(_described(seen, batch_size, html))


def _described(survey: "Survey", batch_size: int, html: Path | None) -> str:
    from convwright.data.findings import as_json, measures, problems

    facts = as_json(survey)
    splits = ", ".join(f"{sum(survey.counts[split]):,} {split}" for split in survey.splits)
    lines = [f"{printable(survey.name)}: {len(survey.images):,} images in {len(survey.classes)} classes ({splits})", ""]
    lines += [_counts(survey), ""]
    for name, spread in measures(survey).items():
        lines.append(f"{name:8}{spread.least:.4g} to {spread.most:.4g}, median {spread.median:.4g}")
    for name in ("modes", "formats"):
        if facts[name]:
            lines.append(f"{name:8}{', '.join(f'{key} {count:,}' for key, count in facts[name].items())}")
    lines.append("")
    found = problems(survey)
    lines += [emphasised(f"{len(found)} problem{'s' * (len(found) != 1)}" if found else "no problems were found")]
    for problem in found:
        lines.append(paragraph(f"- {problem.kind}: {problem.text}"))
        lines += [f"    {printable(detail)}" for detail in problem.details[:MOST_DETAILS]]
        if len(problem.details) > MOST_DETAILS:
            lines.append(f"    and {len(problem.details) - MOST_DETAILS:,} more (--json names all)")
    if resolution := facts["suggested_resolution"]:
        lines += ["", f"suggested: --resolution {resolution} --batch-size {batch_size}"]
    if html is not None:
        lines.append(f"page: {printable(html)}")
    return "\n".join(lines)


def _counts(survey: "Survey") -> str:
    whole = max(1, max(survey.counts["train"]))
    rows = [
        (name, *(f"{survey.counts[split][label]:,}" for split in survey.splits), "#" * round(24 * share))
        for label, name in enumerate(survey.classes)
        for share in [survey.counts["train"][label] / whole]
    ]
    text = table(("class", *survey.splits, ""), rows[:MOST_CLASSES])
    return text + (
        f"\nand {len(rows) - MOST_CLASSES:,} classes more (--json has all)" if len(rows) > MOST_CLASSES else ""
    )
