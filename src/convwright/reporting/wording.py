"""Sentences of the report, computed from the measurements of its networks."""

from collections.abc import Sequence
from pathlib import Path

import torch

from convwright.display.wording import (
    NBSP,
    count,
    counted,
    duration,
    interval,
    listed,
    milliseconds,
    number_word,
    p_value,
    percent,
    times_fewer,
)
from convwright.evaluation.overlap import overlap_notes
from convwright.reporting.entry import Entry
from convwright.reporting.pairs import compare
from convwright.stats.intervals import wilson

NOT_COMPARABLE = "Accuracies are compared only between networks that were measured on the same images."
"""Note on a page whose networks were measured on different images."""
PLURALS = {"accuracy": "accuracies", "mean average precision": "mean average precisions"}


def data_name(entry: Entry) -> str:
    """Return the short name of an entry's data: that of a source, or the last part of a folder."""
    return _folder(entry.data or entry.run.config.data)


def _folder(spec: str) -> str:
    return Path(spec).name or spec


def comparable(entries: Sequence[Entry]) -> bool:
    """Return whether all accuracies were measured on the same images."""
    return len({entry.measured_on for entry in entries}) == 1


def title(entries: Sequence[Entry]) -> str:
    """Return the default heading of a report."""
    data = listed(dict.fromkeys(data_name(entry) for entry in entries))
    name = entries[0].title if len(entries) == 1 else f"{number_word(len(entries)).capitalize()} networks"
    return f"{name} on {data}"


def measured_on(entry: Entry) -> str:
    """Return the images that an accuracy was measured on: ``359 test images of digits``."""
    kind = {"all": "", "val": "validation "}.get(entry.split, f"{entry.split} ")
    return f"{counted(entry.images, f'{kind}image')} of {data_name(entry)}"


def summary(entries: Sequence[Entry]) -> str:
    """Return the paragraph at the head of the page."""
    if len(entries) == 1:
        return _single(entries[0])
    if not comparable(entries):
        return (
            f"{number_word(len(entries)).capitalize()} trained networks, not all measured on the same images: "
            f"their costs compare, their {PLURALS[entries[0].measure]} do not. {_cheapest(entries)}"
        )
    return " ".join((_setting(entries), _most_accurate(entries), _cheapest(entries), _trade(entries))).strip()


def unfinished(entry: Entry) -> str | None:
    """Return a sentence on the progress of a run that has not ended; None for one that has."""
    if entry.run.finished:
        return None
    rows = entry.run.metrics
    epochs = "epoch" if entry.run.config.total_epochs == 1 else "epochs"
    total = entry.run.config.total_epochs
    so_far = f"{rows[-1]['epoch']:.3g} of {total:.3g} {epochs}" if rows else "its first validation"
    return f"{entry.title} has not ended: its figures are those of its best weights so far, after {so_far}."


def seen_before(entry: Entry) -> list[str]:
    """Return a sentence on the images that a network was trained on, and its accuracy on the others."""

    def measured_on(chosen: torch.Tensor) -> str:
        if entry.label_predictions is not None:
            found = entry.label_predictions.measures.mean_precision_on(chosen)
            bounds = f" (95{NBSP}% interval {interval(found.interval)})" if found and found.interval else ""
            return "no classes" if found is None else f"mean average precision {percent(found.value)}{bounds}"
        if entry.predictions is None:
            return "not measured by themselves; `evaluate` does"
        correct, images = int((entry.predictions.correct & chosen).sum()), int(chosen.sum())
        return f"accuracy {percent(correct / images)} (95{NBSP}% interval {interval(wilson(correct, images))})"

    lines = overlap_notes(entry.overlap, measured_on, entry.title)
    return [f"{line if line.startswith(entry.title) else line[0].upper() + line[1:]}." for line in lines]


def latency(entry: Entry) -> str:
    """Return the latency of a network as tables show it; it is marked where the machine was busy."""
    if entry.latency is None:
        return "–"
    return milliseconds(entry.latency.seconds) + (f"{NBSP}(busy)" if entry.latency.doubt else "")


def busy(entry: Entry) -> str | None:
    """Return a sentence on a latency that was measured on a busy machine; None for any other."""
    if entry.latency is None or not entry.latency.doubt:
        return None
    return (
        f"The latency of {entry.title} was measured while the machine was busy ({entry.latency.doubt}): it is that of "
        "the fastest run, and is measured again by the next report."
    )


def derived(entry: Entry) -> str | None:
    """Return how a network was derived from another run's; None for one whose weights were trained as they are."""
    summary = entry.run.summary if entry.run.finished else None
    if summary is None or not summary.derived_from:
        return None
    how = (
        f": squeeze-and-excitation was removed from {listed(summary.without_se)}, and its mean excitation folded into "
        "the weights around it, without further training"
        if summary.without_se
        else ""
    )
    return (
        f"Its weights are not the result of training this network: they are derived from those of the run "
        f"{summary.derived_from}{how}. The command below does not reproduce them, but trains the changed network anew."
    )


def _single(entry: Entry) -> str:
    trained = f", after {duration(entry.seconds)} of training" if entry.seconds else ""
    reached = f"classifies {percent(entry.accuracy)} of {measured_on(entry)} correctly"
    if entry.run.multi_label:
        reached = f"has a mean average precision of {percent(entry.accuracy)} on {measured_on(entry)}"
    return (
        f"{entry.title} {reached} (95{NBSP}% interval {interval(entry.interval)}){trained}. It takes "
        f"{count(entry.cost.macs)} multiply-adds (MACs) an image and has {count(entry.cost.params)} parameters."
    )


def _setting(entries: Sequence[Entry]) -> str:
    first = entries[0]
    names = listed(dict.fromkeys(_folder(entry.run.config.data) for entry in entries))
    images = measured_on(first) if first.data else measured_on(first).rpartition(" of ")[0]
    return f"{number_word(len(entries)).capitalize()} networks, trained on {names} and measured on the same {images}."


def _most_accurate(entries: Sequence[Entry]) -> str:
    top = max(entry.accuracy for entry in entries)
    best = [entry for entry in entries if entry.accuracy == top]
    names = listed(entry.title for entry in best)
    verb = "is the most accurate" if len(best) == 1 else "share the highest accuracy"
    reached = f"with {percent(top)} correct"
    if best[0].run.multi_label:
        verb = f"{'has' if len(best) == 1 else 'share'} the highest mean average precision"
        reached = percent(top)
    statement = f"{names} {verb}, {reached} (95{NBSP}% interval {interval(best[0].interval)})"
    rest = [entry for entry in entries if entry.accuracy < top]
    close = [entry.title for entry in rest if entry.interval[1] >= best[0].interval[0]]
    if not rest:
        return f"{statement}."
    if not close:
        return f"{statement}; no other interval overlaps with this."
    if all(entry.predicted for entry in entries):
        return f"{statement}. {_compared(entries)}"
    those = "the interval" if len(close) == 1 else "the intervals"
    clear = "" if len(close) == len(rest) else ", not with the others'"
    return (
        f"{statement}; this overlaps with {those} of {listed(close)}{clear}, so {counted(entries[0].images, 'image')} "
        f"{'does' if entries[0].images == 1 else 'do'} not show which of them is better."
    )


def _compared(entries: Sequence[Entry]) -> str:
    """Return a sentence on the differences from the most accurate network, compared image by image."""
    ranked = sorted(enumerate(entries), key=lambda numbered: -numbered[1].accuracy)
    best = ranked[0]
    found = [compare(best, other) for other in ranked if other[1].accuracy < best[1].accuracy]
    behind = [pair.second[1].title for pair in found if pair.significant]
    unclear = [f"{pair.second[1].title} ({p_value(pair.p_value)})" for pair in found if not pair.significant]
    parts = []
    if behind:
        parts.append(f"it is significantly better than {listed(behind)}")
    if unclear:
        parts.append(
            f"{'while ' if behind else ''}the difference from {listed(unclear)} is not statistically significant"
        )
    return f"Compared image by image, {', '.join(parts)}."


def _cheapest(entries: Sequence[Entry]) -> str:
    fewest = min(entries, key=lambda entry: entry.cost.macs)
    small = min(entries, key=lambda entry: entry.cost.params)
    macs = f"{count(fewest.cost.macs)} multiply-adds (MACs) an image"
    params = f"{count(small.cost.params)} parameters"
    if fewest is small:
        return f"{fewest.title} is the cheapest, with {macs} and {params}."
    return f"{fewest.title} computes least, with {macs}; {small.title} is the smallest, with {params}."


def _trade(entries: Sequence[Entry]) -> str:
    """Return a sentence that compares the network with the fewest MACs with the most accurate one."""
    best = max(entries, key=lambda entry: entry.accuracy)
    fewest = min(entries, key=lambda entry: entry.cost.macs)
    if fewest.accuracy == best.accuracy:
        return ""
    less = best.cost.macs / fewest.cost.macs
    points = 100 * (best.accuracy - fewest.accuracy)
    lost = f"{points:.1f}" if points >= 0.1 else "less than 0.1"
    unit = "percentage point" if lost in ("1.0", "less than 0.1") else "percentage points"
    worse = f"is {lost} {unit} less accurate"
    if best.run.multi_label:
        worse = f"has a mean average precision that is {lost} {unit} lower"
    return f"Against {best.title}, {fewest.title} takes {times_fewer(less, 'MACs')} and {worse}."
