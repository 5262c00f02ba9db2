"""The dossier of a design: one page with the answer, what was tried, why it lost, and how to repeat it."""

import math
import shlex
from collections.abc import Sequence
from dataclasses import replace
from html import escape
from pathlib import Path

from convwright.arch.cost import cost
from convwright.arch.resolution import format_resolution
from convwright.designing.commands import ablate_command, design_command
from convwright.designing.examination import ImageFacts
from convwright.designing.ideas import PAPERS, SPENDING, TRAINING, not_compared, why_not_compared
from convwright.designing.result import DesignResult
from convwright.designing.trials import trained_epochs
from convwright.display.figures import Figure, Panel, axis, colour, empty_plot, log_axis, symbol
from convwright.display.pages import write_html
from convwright.display.wording import counted, duration, interval, listed, percent
from convwright.places import without_folders
from convwright.printable import quoted
from convwright.reporting.entry import Entry
from convwright.scaling.budget import LATENCY, format_amount
from convwright.stats.intervals import wilson
from convwright.training.plan import absolute_spec
from convwright.units import human, human_bytes

SPLITS = {"train": "training", "val": "validation", "test": "test"}
PRECISIONS = {"float32": "32-bit floats", "int8": "8-bit integers"}
STEPS = 16
"""Parts of an image that deletion and insertion remove or put in, one after the other."""
PASSES = 4 * (STEPS + 1)
"""Predictions for the scores of an image: deletion and insertion, of its map and of a random one."""
MIN_SCORED_IMAGES, MAX_SCORED_IMAGES = 4, 32
"""Images whose maps are scored, at least and at most."""
MAX_CLASSES_LISTED = 20
"""Most classes that the page lists."""


def write_dossier(path: Path, design: DesignResult, figures: Sequence[Figure]) -> None:
    """Write the page, completely or not at all.

    Args:
        path: The file; it is replaced if it exists.
        design: The design.
        figures: Figures about the winner, as reports show them.
    """
    write_html(
        path,
        "dossier.html.j2",
        package="convwright.designing",
        title=f"Design: {Path(design.request.data.spec).name}",
        summary=summary(design),
        warnings=design.warnings,
        rows=_rows(design),
        left_out=design.not_tried(),
        decisions=_decisions(design),
        facts=_facts(design),
        data=_data_facts(design.images),
        class_rows=_class_rows(design.images),
        images=design.images,
        split_titles=SPLITS,
        shown=[race_figure(design), *figures],
        ideas=_ideas(design),
        comparisons=len(design.effects),
        splits={each.split for each in design.effects},
        seed=design.request.seed,
        not_compared=[(idea, why_not_compared(design.state, idea)) for idea in not_compared(design.state)],
        ablate=ablate_command(design.request, design.run.path / "network.json"),
        paths=_paths(design),
        use=_use(design),
        repeat=zip(("Repeat the design:", "Retrain only the winner:"), _repeat(design), strict=True),
    )


def _paths(design: DesignResult) -> dict[str, str]:
    """Return paths of this machine, and what the page shows instead: names in the design's folder, and of the data."""
    out, data = design.request.out, design.request.data.spec
    folders = {str(out), str(out.absolute()), str(out.resolve())}
    shown = {each: without_folders(each) for each in (data, absolute_spec(data))}
    return shown | {f"{each}/": "" for each in folders} | dict.fromkeys(folders, out.resolve().name)


def summary(design: DesignResult) -> str:
    """Return the answer in two sentences."""
    count = cost(design.run.network)
    budget = f" Budget: at most {design.request.budget.allowance}." if design.request.budget else ""
    return (
        f"{design.winner.name}, at {format_resolution(design.run.network.resolution)} px, classifies "
        f"{percent(design.accuracy)} ({interval(design.interval)}) of {counted(design.tested.images, 'test image')} "
        f"correctly with {human(count.params)} parameters and {human(count.macs)} MACs.{_of_file(design)}"
        f"{budget}"
    )


def _of_file(design: DesignResult) -> str:
    """Return a sentence on the accuracy of the run where the file uses 8-bit integers; else nothing."""
    if design.shipped is None or design.shipped.tested is None:
        return ""
    accuracy = f"{percent(design.tested.accuracy)} ({interval(design.tested.interval)})"
    return (
        " This is the accuracy of the exported file, which uses 8-bit integers. The figures below show the network in "
        f"32-bit floats, which classifies {accuracy} correctly."
    )


def _ideas(design: DesignResult) -> list[tuple[str, list[str]]]:
    """Return headings with the sentences below each: the papers' ideas first, then the budget and training."""
    sections = []
    for idea in (*PAPERS, SPENDING, TRAINING):
        title = f"{idea[0].upper()}{idea[1:]}" + (f" ({PAPERS[idea]})" if idea in PAPERS else "")
        lines = [each.sentence for each in design.effects if each.idea == idea]
        if lines:
            sections.append((title, lines))
    return sections


def race_figure(design: DesignResult) -> Figure:
    """Return accuracy on validation images against MACs, a point for each candidate."""
    trained = [(candidate, trial) for candidate, trial in design.trials() if trial.problem is None]
    macs = [cost(candidate.network).macs for candidate, _ in trained]
    x_axis = log_axis(macs, room=0.35)
    plot = empty_plot(
        height=420,
        x=x_axis | {"title": {"text": "MACs per image (log scale)"}, "tickformat": "~s"},
        y=axis(tickformat=".1~%", nticks=6),
    )
    families = list(dict.fromkeys(candidate.family for candidate, _ in trained))
    for (candidate, trial), amount in zip(trained, macs, strict=True):
        low, high = wilson(round(trial.accuracy * trial.images), trial.images)
        number = families.index(candidate.family)
        won = candidate.name == design.winner.name
        plot.add_scatter(
            x=[amount],
            y=[trial.accuracy],
            mode="markers",
            marker={
                "color": colour(number),
                "symbol": symbol(number),
                "size": 15 if won else 10,
                "line": {"width": 2 if won else 0, "color": "var(--ink)"},
            },
            error_y={
                "type": "data",
                "symmetric": False,
                "array": [high - trial.accuracy],
                "arrayminus": [trial.accuracy - low],
                "color": colour(number),
                "thickness": 1.2,
                "width": 4,
            },
            hovertemplate=(
                f"<b>{escape(candidate.name)}</b><br>{percent(trial.accuracy)} ({interval((low, high))})"
                f"<br>{human(amount)} MACs, round {design.round_name(trial)}<extra></extra>"
            ),
        )
    alt = "; ".join(f"{candidate.name}: {percent(trial.accuracy)}" for candidate, trial in trained)
    return Figure(
        "race",
        "Accuracy against MACs",
        "Accuracy on the validation images in the last round of each candidate, against its MACs per image. Later "
        "rounds train longer, so compare only candidates of the same round. The winner is outlined.",
        (Panel("Accuracy on validation images", plot, f"Scatter plot. {alt}."),),
        keys=tuple((colour(at), name) for at, name in enumerate(families)),
    )


def _rows(design: DesignResult) -> list[dict[str, str]]:
    rows = []
    for candidate, trial in design.trials():
        count = cost(candidate.network)
        low_high = wilson(round(trial.accuracy * trial.images), trial.images) if trial.images else (math.nan, math.nan)
        won = candidate.name == design.winner.name
        rows.append(
            {
                "name": candidate.name,
                "idea": "" if candidate.idea in candidate.name else candidate.idea,
                "resolution": format_resolution(candidate.network.resolution),
                "params": human(count.params),
                "macs": human(count.macs),
                "round": design.round_name(trial),
                "accuracy": percent(trial.accuracy) if trial.problem is None else "–",
                "interval": interval(low_high) if trial.problem is None else "",
                "trained": f"{trial.epochs:.3g} epochs",
                "time": f"in {duration(trial.seconds)}" + (" (time limit)" if trial.stopped else ""),
                "reason": "won the race" if won else trial.problem or design.why_lost(candidate.name),
            }
        )
    return rows


def _data_facts(images: ImageFacts) -> list[tuple[str, str]]:
    """Return what the images are, a name and a text each."""
    splits = listed(f"{sum(images.counts[name]):,} {split}" for name, split in SPLITS.items() if name in images.counts)
    sizes = sorted(images.counts["train"])
    return [
        ("Images", f"{splits} images"),
        ("Classes", f"{len(images.classes)}, with {_range(sizes[0], sizes[-1])}"),
        ("Resolution", f"{format_resolution(images.resolution)} px, {counted(images.channels, 'channel')}"),
    ]


def _range(fewest: int, most: int) -> str:
    """Return how many training images classes have."""
    if fewest == most:
        return f"{counted(most, 'training image')} each"
    return f"{fewest:,} to {counted(most, 'training image')}"


def _decisions(design: DesignResult) -> list[tuple[str, str]]:
    """Return every decision and its reason; a decision begins with a capital letter, unless it begins with a name."""
    names = tuple(each.name for each in design.state.candidates)
    return [
        (text if text.startswith(names) else f"{text[:1].upper()}{text[1:]}", each.reason)
        for each in design.decisions
        for text in [each.decision]
    ]


def _class_rows(images: ImageFacts) -> list[tuple[str, list[str]]]:
    """Return the name and the counts by split of each class; of many, of the largest and the smallest ones."""
    order = sorted(range(len(images.classes)), key=lambda at: -images.counts["train"][at])
    if len(order) > MAX_CLASSES_LISTED:
        order = [*order[: MAX_CLASSES_LISTED // 2], *order[-MAX_CLASSES_LISTED // 2 :]]
    return [(images.classes[at], [f"{counts[at]:,}" for counts in images.counts.values()]) for at in order]


def _facts(design: DesignResult) -> list[tuple[str, str]]:
    """Return what the winner uses, a name and a text each."""
    count, run, shipped = cost(design.run.network), design.run, design.shipped
    facts = [
        ("Network", run.network.name),
        ("Parameters", human(count.params)),
        ("MACs", human(count.macs)),
        ("Training", f"{trained_epochs(run):.3g} epochs, {duration(run.summary.train_seconds)}"),
        ("Time of the design", f"{duration(design.seconds)}; {duration(design.request.seconds)} were requested"),
    ]
    if shipped is not None:
        facts += [
            (
                "File",
                f"{shipped.file}, {PRECISIONS.get(shipped.precision, shipped.precision)}, {human_bytes(shipped.bytes)}",
            ),
            ("Latency", shipped.latency_text),
        ]
        for name, amount in shipped.used.items():
            limit = design.request.budget.limits[name] if design.request.budget else math.inf
            where = f" in {shipped.engine}" if name == LATENCY and shipped.engine else ""
            amounts = format_amount(name, amount), format_amount(name, limit)
            text = "{}, above the limit of {}" if name in shipped.exceeded else "{} of at most {} (within budget)"
            facts.append((f"Budget: {name}{where}", text.format(*amounts)))
        if shipped.unmeasured:
            facts.append((f"Budget: {LATENCY} in {shipped.engine}", f"not measured: {shipped.unmeasured}"))
    elif reason := design.state.trained_winner.no_file:
        facts.append(("File", f"none: {reason}"))
    return facts


def _use(design: DesignResult) -> list[str]:
    file = design.file or design.run.path
    return [
        f"convwright predict {quoted(file)} image.jpg",
        f'python -c "import convwright as cw; print(cw.load({str(file)!r}).predict({"image.jpg"!r}))"',
    ]


def _repeat(design: DesignResult) -> list[str]:
    train = [
        "convwright",
        "train",
        "--config",
        str(design.run.path / "config.yaml"),
        "--out",
        f"{design.run.path}-again",
    ]
    return [design_command(design.request), shlex.join(train)]


def winner_figures(entry: Entry, image_seconds: float, seconds: float) -> list[Figure]:
    """Return the figures of a report on the winner, with scores of its class activation maps if time is left.

    Args:
        entry: The winner.
        image_seconds: Seconds in which the network evaluates an image.
        seconds: Time for the scores.
    """
    from convwright.reporting.contents import figures

    shown = list(figures([entry]))
    count = min(MAX_SCORED_IMAGES, int(seconds / (image_seconds * PASSES)) if seconds > 0 else 0)
    maps = [at for at, figure in enumerate(shown) if figure.name.startswith("cam")]
    if count >= MIN_SCORED_IMAGES and maps:
        shown[maps[-1] + 1 : maps[-1] + 1] = _scores(entry, count)
    return shown


def _scores(entry: Entry, count: int) -> list[Figure]:
    """Return the curves of deletion and insertion of the winner's class activation maps."""
    from convwright.explain import functions

    maps = functions.cam(entry.run, count=count)
    scored = functions.faithfulness(entry.run, maps, steps=STEPS)
    return [replace(each, findings=(scored.summary,)) for each in scored.figures()]
