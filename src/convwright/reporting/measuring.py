"""Measurements of runs for a report: predictions for images that they were not trained on, and latency."""

from collections.abc import Callable, Sequence
from functools import partial

import torch

from convwright.arch import Network
from convwright.data import Dataset, Split
from convwright.data.opened import Data
from convwright.display.progress import counting
from convwright.errors import ArgumentError
from convwright.evaluation.assessment import assess, assess_multi_label
from convwright.evaluation.overlap import overlap_of
from convwright.evaluation.record import Recorder, images_key
from convwright.prediction.network import Predictor, load
from convwright.reporting.entry import Entry, Latency
from convwright.reporting.predicted import LabelPredictions, SplitPredictions
from convwright.reporting.titles import titles
from convwright.reporting.wording import busy, data_name, seen_before, unfinished
from convwright.scaling.latency import Stopwatch
from convwright.training.run import Run
from convwright.training.run_data import data_for, open_run_data


def measure_runs(
    runs: Sequence[Run],
    *,
    data: Data | str | None = None,
    names: Sequence[str] | None = None,
    device: str = "auto",
    latency: bool = True,
    remeasure: bool = False,
) -> tuple[list[Entry], list[str]]:
    """Measure runs for a report.

    Args:
        runs: The runs; those without weights are left out.
        data: A folder, list or built-in data set with the same classes; by default each run's own data. See
            `open_run_data`.
        names: Names of the networks; by default those of their folders.
        device: Where the networks compute: `cpu`, `cuda` or `auto`.
        latency: Whether to measure the latency of each network.
        remeasure: Whether latencies in the user's cache are measured again.

    Returns:
        The networks with their measurements, and a sentence on each run whose figures have restrictions.

    Raises:
        RunError: No run has weights.
        DataError: The data cannot be opened, or has other classes.
    """
    named = list(zip(names or titles([run.path for run in runs]), runs, strict=True))
    other = None if data is None else Data.of(data).spec
    ready = [(title, run) for title, run in named if run.weights.exists()]
    notes = [f"{title} is left out: it has no weights yet." for title, run in named if not run.weights.exists()]
    if not ready:
        runs[0].existing_weights()  # raises what is wrong with them
    if len({run.multi_label for _, run in ready}) > 1:
        one = next(title for title, run in ready if not run.multi_label)
        other_kind = next(title for title, run in ready if run.multi_label)
        raise ArgumentError("runs", f"{one} is single-label and {other_kind} multi-label; report on one kind at a time")
    stopwatch = Stopwatch(remeasure=remeasure) if latency else None
    images: dict[str, Dataset] = {}
    entries = []
    for title, run in ready:
        opened = _opened(run, data, images)
        with counting() as progress:
            after_batch = partial(_show, progress, title)
            entries.append(
                measure_run(
                    run, opened, title, other=other, device=device, stopwatch=stopwatch, after_batch=after_batch
                )
            )
    notes += [line for entry in entries for line in (unfinished(entry), busy(entry)) if line]
    notes += [line for entry in entries for line in seen_before(entry)]
    return entries, notes + _changed(entries)


def measure_run(
    run: Run,
    data: Dataset,
    title: str,
    *,
    other: str | None = None,
    device: str = "auto",
    stopwatch: Stopwatch | None = None,
    after_batch: Callable[[int, int], None] | None = None,
) -> Entry:
    """Measure a run's best weights on the test split, or on the validation split where the data has no test split.

    Args:
        run: The run.
        data: The images.
        title: Name of the network in the report.
        other: Name of the data where it is not the run's own; without a test split all its images are used.
        device: Where the network computes: `cpu`, `cuda` or `auto`.
        stopwatch: Measures the latency; None: not measured.
        after_batch: Called with the number of images done and their total.

    Raises:
        RunError: The run has no weights yet.
        DataError: The data has other classes.
    """
    predictor = load(run.path, device)
    split, parts = measured_splits(data, other is not None)
    predictions = predict_splits(predictor, data, parts, after_batch)
    overlap = overlap_of(run, data, parts, own_data=other is None)
    latency = None if stopwatch is None else _latency(stopwatch, run.network)
    if isinstance(predictions, LabelPredictions):
        precision, images = predictions.measures.mean_average_precision, predictions.measures.images
        interval = precision.interval or (precision.value, precision.value)
        return Entry(title, run, precision.value, interval, images, split, None, latency, other, predictions, overlap)
    measures = predictions.measures
    accuracy, interval, images = measures.accuracy, measures.interval, measures.images
    return Entry(title, run, accuracy, interval, images, split, predictions, latency, other, overlap=overlap)


def _latency(stopwatch: Stopwatch, network: Network) -> Latency:
    """Return a network's latency; with a doubt if it has been measured just now, on a busy machine."""
    before = stopwatch.unreliable.get(network.name)
    seconds = stopwatch(network)
    timing = stopwatch.unreliable.get(network.name)
    doubt = timing.doubt if timing is not None and timing is not before else ""
    return Latency(seconds, stopwatch.threads or torch.get_num_threads(), doubt)


def measured_splits(data: Dataset, other: bool) -> tuple[str, tuple[Split, ...]]:
    """Return the name of the images to measure on (`test`, `val` or `all`), and their splits.

    Args:
        data: The images.
        other: Whether the network was not trained on them.
    """
    if data.test is not None:
        return "test", (data.test,)
    if not other:
        return "val", (data.val,)
    return "all", tuple(split for split in (data.val, data.train) if len(split))


def predict_splits(
    predictor: Predictor,
    data: Dataset,
    parts: Sequence[Split],
    after_batch: Callable[[int, int], None] | None = None,
) -> SplitPredictions | LabelPredictions:
    """Return a network's predictions for every image of splits.

    Args:
        predictor: The network.
        data: The data set.
        parts: Splits of the data set.
        after_batch: Called with the number of images done and their total.

    Raises:
        DataError: The data has other classes.
    """
    done, total = 0, sum(map(len, parts))

    def count(_: torch.Tensor, labels: torch.Tensor) -> None:
        nonlocal done
        done += len(labels)
        if after_batch:
            after_batch(done, total)

    if predictor.multi_label:
        scores = assess_multi_label(predictor, data, parts, after_batch=count)
        return LabelPredictions(predictor, data, tuple(parts), scores.labels, scores, images_key(data, parts))
    recorder = Recorder(data, {str(number): part for number, part in enumerate(parts)})

    def add(logits: torch.Tensor, labels: torch.Tensor) -> None:
        recorder.add(logits, labels)
        count(logits, labels)

    measures = assess(predictor, data, parts, after_batch=add)
    found = recorder.predictions()
    every = found.labels, found.predicted, found.confidence
    return SplitPredictions(predictor, data, tuple(parts), *every, measures, found.key)


def _show(progress: Callable[[int, int, str], None], title: str, done: int, total: int) -> None:
    progress(done, total, f"evaluating {title}")


def _opened(run: Run, data: Data | str | None, images: dict[str, Dataset]) -> Dataset:
    """Open a run's data, or other data in the same way; once for all runs that share it."""
    chosen = data_for(run, data)
    options = chosen.val_share, chosen.seed, chosen.folds, chosen.fold, chosen.duplicates, chosen.max_bad
    key = repr((chosen.spec, *options, run.config.resolution, tuple(run.framing)))
    if run.initial.exists():  # normalised by the run itself
        key += str(run.path)
    if key not in images:
        images[key] = open_run_data(run, data, training=False)
    return images[key]


def _changed(entries: Sequence[Entry]) -> list[str]:
    """Return a sentence on each network that may have been trained on the images that it is measured on."""
    changed = [
        entry
        for entry in entries
        if entry.predicted and entry.split == "val" and not entry.data
        if entry.predicted.data.fingerprint != entry.run.data.fingerprint
    ]
    return [
        f"{data_name(entry)} has changed since {entry.title} was trained: it may have seen some of these images."
        for entry in changed
    ]
