"""`convwright reproduce`: what the three papers print, beside what our own networks give."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convwright.cli.output import echo, print_json
from convwright.cli.places import check_file
from convwright.display.table import paragraph, table
from convwright.errors import ConvwrightError

if TYPE_CHECKING:
    from convwright.reproduction import Outcome


def reproduce(
    paper: Annotated[str | None, typer.Argument(help="densenet, senet or efficientnet; all three by default.")] = None,
    html: Annotated[Path | None, typer.Option(help="Also write a page with the papers' plots.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print every claim as JSON.")] = False,
) -> None:
    """Compute what the papers print and can be computed without ImageNet, and judge each claim."""
    check_file("--html", html)
    from convwright.reproduction import PAPERS, Verdict, chapter, tally

    chapters = [chapter(name) for name in ([paper.lower()] if paper else PAPERS)]
    every = [outcome for _, outcomes in chapters for outcome in outcomes]
    if html is not None:
        from convwright.reporting.reproduction_page import write_reproduction_page

        write_reproduction_page(html, chapters)
    if as_json:
        rows = [_row(found.key, outcome) for found, outcomes in chapters for outcome in outcomes]
        print_json(rows)
    else:
        lines: list[tuple[str, ...] | str] = []
        for found, outcomes in chapters:
            lines += [found.title, *(_line(outcome) for outcome in outcomes)]
        echo(table(("claim", "where", "printed", "ours", "verdict", ""), lines, left=2))
        counts = ", ".join(f"{count} {verdict.value}" for verdict, count in tally(every).items())
        echo("\n" + paragraph(f"{len(every)} claims: {counts}"))
        if html is not None:
            echo(f"page: {html}")
    if wrong := [outcome.claim.subject for outcome in every if outcome.verdict is Verdict.WRONG]:
        raise ConvwrightError(f"{len(wrong)} figures are wrong: {', '.join(wrong[:3])}")


def _line(outcome: "Outcome") -> tuple[str, ...]:
    claim = outcome.claim
    unit = f" {claim.unit}" if claim.unit else ""
    return (
        f"{claim.subject}: {claim.quantity}",
        claim.place,
        f"{claim.printed}{unit}" if claim.printed else "-",
        f"{outcome.computed}{unit}" if outcome.computed else "-",
        outcome.verdict.value,
        outcome.why,
    )


def _row(paper: str, outcome: "Outcome") -> dict[str, Any]:
    claim = outcome.claim
    return {
        "paper": paper,
        "place": claim.place,
        "subject": claim.subject,
        "quantity": claim.quantity,
        "unit": claim.unit,
        "printed": claim.printed or None,
        "computed": outcome.value,
        "rounded": outcome.computed or None,
        "counted_otherwise": outcome.instead or None,
        "verdict": outcome.verdict.value,
        "why": outcome.why or None,
    }
