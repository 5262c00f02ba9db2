"""Changes of accuracy in tables and in JSON."""

from convwright.explain.variants import Change

COLUMNS = ("accuracy", "95 % interval", "change", "95 % interval")
NOTE = (
    "Change: of accuracy against {}, in percentage points, with its interval, from pairs of predictions for the same "
    "images."
)
"""What the columns of a change mean; the variant that is compared with is to be filled in."""


def change_cells(change: Change | None) -> tuple[str, str]:
    """Return a change and its interval as cells of a table; None is the first variant, which has no change."""
    if change is None:
        return "-", "-"
    return f"{100 * change.difference:+.2f}", " to ".join(f"{100 * bound:+.2f}" for bound in change.interval)


def change_dict(change: Change | None) -> dict[str, object]:
    """Return a change for JSON, as shares of the images."""
    return {"change": change and change.difference, "change_interval": change and change.interval}
