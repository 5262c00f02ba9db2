"""Scores of maps as tables and as values for JSON."""

from collections.abc import Iterator, Mapping, Sequence

from convwright.display.result import Block, Paragraph, Table
from convwright.explain.deletion import Estimate, MapScores

SCORES = {
    "deletion": "deletion",
    "random_deletion": "random map",
    "insertion": "insertion",
    "random_insertion": "random map",
}
COMPARED = {
    "deletion": "deletion",
    "insertion": "insertion",
    "deletion_gain": "deletion beyond random",
    "insertion_gain": "insertion beyond random",
}
Scored = tuple[str, MapScores | None]
"""Title of a network, and the scores of its maps."""


def estimates_dict(estimates: Mapping[str, Estimate]) -> dict[str, object]:
    """Return means with their intervals for JSON."""
    return {
        name: {"mean": one.mean, "interval": one.interval and list(one.interval), "images": one.images}
        for name, one in estimates.items()
    }


def compared(scored: Sequence[Scored]) -> list[tuple[str, dict[str, Estimate]]]:
    """Return the differences of each further network from the first, image by image."""
    (_, base), *others = [(title, scores) for title, scores in scored if scores]
    return [(title, scores.minus(base)) for title, scores in others if scores and base]


def differences(scored: Sequence[Scored]) -> list[dict[str, object]]:
    """Return the differences of each further network from the first for JSON."""
    first = next(title for title, scores in scored if scores)
    return [{"name": title, "from": first, "scores": estimates_dict(one)} for title, one in compared(scored)]


def score_tables(scored: Sequence[Scored]) -> Iterator[Block]:
    """Yield the scores of each network, and the differences from the first."""
    if not scored:
        return
    means = [(title, scores.estimates()) for title, scores in scored if scores]
    rows = [(title, *(_interval(one[name]) for name in SCORES), "") for title, one in means]
    yield Table(("network", *SCORES.values(), ""), rows)
    yield Paragraph(
        f"Mean areas under the probability of the class over {means[0][1]['deletion'].images} images, with 95 % "
        "intervals. Deletion is better when low, insertion when high; random maps of the same coarseness are the "
        "baseline."
    )
    if len(means) > 1:
        rows = [(title, *(_interval(one[name]) for name in COMPARED), "") for title, one in compared(scored)]
        yield Table((f"difference from {means[0][0]}", *COMPARED.values(), ""), rows)
        yield Paragraph(
            "Differences are computed image by image; where the interval contains zero, these images show no "
            "difference."
        )


def _interval(estimate: Estimate) -> str:
    between = estimate.interval
    return f"{estimate.mean:.3f}" + (f" ({between[0]:.3f} to {between[1]:.3f})" if between else "")
