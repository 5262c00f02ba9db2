"""Feature reuse in densely connected networks: DenseNet's Figure 5."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from convwright.display.figures import Figure
from convwright.errors import NetworkError
from convwright.explain.feature_reuse import BlockReuse, FeatureReuse, feature_reuse
from convwright.explain.reuse_figures import heat_maps
from convwright.reporting.entry import Entry


def reuse_figures(entries: Sequence[Entry]) -> Iterator[Figure]:
    """Yield a heat map for each dense block of each network that has some."""
    for number, entry in enumerate(entries, 1):
        if not entry.predicted:
            continue
        predictor = entry.predicted.predictor
        try:
            found = feature_reuse(predictor.network, predictor.module)
        except NetworkError:  # no dense blocks
            continue
        yield replace(
            heat_maps(found),
            name=f"reuse-{number}",
            title=f"Feature reuse: {entry.title}",
            caption="How strongly each layer of a dense block weighs the maps of each layer before it, relative to the "
            f"strongest in its column. {found.definition}",
            findings=tuple(map(_finding, found.blocks)),
            facts=_as_json(entry, found),
        )


def _finding(block: BlockReuse) -> str:
    low, mean = block.spread
    text = (
        f"{block.name}: relative to the strongest source of a layer, the mean weight is {mean:.2f} and the weakest is "
        f"{low:.2f}; that of the block's input is {block.input_share:.2f}."
    )
    if (ratio := block.late_to_early_ratio) is None:
        return text
    return (
        f"{text} The layer after the block, {block.targets[-1]}, weighs late layers {ratio:.2f} times as much as early "
        "ones."
    )


def _as_json(entry: Entry, found: FeatureReuse) -> dict[str, Any]:
    blocks = [
        {
            "block": block.name,
            "sources": block.sources,
            "targets": block.targets,
            "raw": block.raw,
            "normalised": block.normalised,
        }
        for block in found.blocks
    ]
    return {"network": entry.title, "definition": found.definition, "blocks": blocks}
