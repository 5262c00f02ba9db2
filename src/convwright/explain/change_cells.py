"""Changes of accuracy in tables and in JSON."""

from convwright.explain.variants import Change


def change_columns(measure: str) -> tuple[str, ...]:
    """Return the titles of the columns of a variant.

    Args:
        measure: `accuracy`, or `mean average precision`.
    """
    return (measure_key(measure).replace("map", "mAP"), "95 % interval", "change", "95 % interval")


def change_note(measure: str, against: str) -> str:
    """Return what the columns of a change mean.

    Args:
        measure: `accuracy`, or `mean average precision`.
        against: The variant that is compared with.
    """
    how = "from pairs of predictions for the same images" if measure == "accuracy" else "by a paired bootstrap"
    return f"Change: of {measure} against {against}, in percentage points, with its interval, {how}."


def measure_key(measure: str) -> str:
    """Return the name of a measure in JSON: `accuracy`, or `map`."""
    return "accuracy" if measure == "accuracy" else "map"


def change_cells(change: Change | None) -> tuple[str, str]:
    """Return a change and its interval as cells of a table; None is the first variant, which has no change."""
    if change is None:
        return "-", "-"
    return f"{100 * change.difference:+.2f}", " to ".join(f"{100 * bound:+.2f}" for bound in change.interval)


def change_dict(change: Change | None) -> dict[str, object]:
    """Return a change for JSON, as shares of the images."""
    return {"change": change and change.difference, "change_interval": change and change.interval}
