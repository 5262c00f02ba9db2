"""A run evaluated on a split of its data, or on other data with the same classes."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from convwright.arch.resolution import sides
from convwright.data import Dataset, Split
from convwright.data.opened import Data
from convwright.display.progress import counting
from convwright.errors import ArgumentError, argument, warn
from convwright.evaluation.assessment import assess, assess_multi_label, check_labels
from convwright.evaluation.measures import Measures
from convwright.evaluation.multi_label import MultiLabelMeasures
from convwright.evaluation.multi_label_result import LabelSets, MultiLabelEvaluation
from convwright.evaluation.overlap import overlap_of
from convwright.evaluation.record import ImagePredictions, Recorder, images_key, names_of_images
from convwright.evaluation.result import Evaluation
from convwright.files import write_text
from convwright.places import check_file
from convwright.prediction.network import Predictor, load
from convwright.printable import printable
from convwright.training.run import Run
from convwright.training.run_data import is_own, open_run_data
from convwright.training.views import AS_IT_IS, View, views_of


def evaluate_run(
    run: Run,
    split: str | None = None,
    *,
    data: Data | str | Path | None = None,
    tta: bool = False,
    predictions: Path | None = None,
    device: torch.device | str = "auto",
) -> Evaluation | MultiLabelEvaluation:
    """Evaluate a run's best weights.

    Args:
        run: The run.
        split: `test`, `val`, `train` or `all`; None: `test`, or where there is no test split `val`, or all of other
            data.
        data: Other data with the same classes, whose own options count; None: the run's own data. The run's own data
            always has the run's validation images, and is evaluated on images that were held out.
        tta: Whether to average over test-time augmentation views.
        predictions: File for the prediction of each image, as CSV.
        device: Where the network computes.

    Raises:
        RunError: The run has no weights yet, or is damaged.
        DataError: The data cannot be opened or has other classes.
        ArgumentError: There is no such split or device, or the file cannot be written.
    """
    check_file("predictions", predictions)
    predictor = load(run, device)
    views = views_of(run.config.recipe, min(sides(run.network.resolution))) if tta else AS_IT_IS
    name = None if data is None else Data.of(data).spec
    with argument("data"):
        images = open_run_data(run, data, training=False)
    check_labels(predictor, images)
    if predictor.multi_label and not images.multi_label:
        warn(f"{printable(images.name)} is single-label data: in each image every other class counts as absent")
    own = data is None or is_own(run, data)
    chosen = split or ("test" if images.test is not None else "val" if own else "all")
    parts = split_parts(images, chosen)
    _warn(run, images, chosen, own_data=own)
    described = str(run.path), run.network.name, name or run.config.data, chosen, tuple(map(str, views)), run.classes
    overlap, doing = overlap_of(run, images, parts.values(), own_data=own), f"evaluating on {chosen} images"
    found: Evaluation | MultiLabelEvaluation
    if predictor.multi_label:
        scores, sets = measure_multi_label(predictor, images, parts, views=views, doing=doing)
        found = MultiLabelEvaluation(*described, scores, sets, own_data=own, augmented=tta, overlap=overlap)
    else:
        measures, record = measure(predictor, images, parts, views=views, doing=doing)
        found = Evaluation(
            *described,
            measures,
            record,
            own_data=own,
            augmented=tta,
            overlap=overlap,
            temperature=predictor.temperature,
        )
    if predictions is not None:
        write_text(predictions, found.to_csv())
    return found


def measure(
    predictor: Predictor,
    data: Dataset,
    parts: Mapping[str, Split],
    *,
    views: Sequence[View] = AS_IT_IS,
    doing: str = "evaluating",
) -> tuple[Measures, ImagePredictions]:
    """Measure a network on splits of a data set, and keep its prediction for each image.

    Args:
        predictor: The network.
        data: The data set.
        parts: Splits of the data set, by name.
        views: Test-time augmentation views.
        doing: Text beside the progress bar of a terminal.
    """
    recorder = Recorder(data, parts)
    with _counting(parts, doing) as count:

        def after_batch(logits: torch.Tensor, labels: torch.Tensor) -> None:
            count(logits, labels)
            recorder.add(logits, labels)

        measures = assess(predictor, data, list(parts.values()), views=views, after_batch=after_batch)
    return measures, recorder.predictions()


def measure_multi_label(
    predictor: Predictor,
    data: Dataset,
    parts: Mapping[str, Split],
    *,
    views: Sequence[View] = AS_IT_IS,
    doing: str = "evaluating",
) -> tuple[MultiLabelMeasures, LabelSets]:
    """Measure a multi-label network on splits of a data set, and keep its predictions; see `measure`."""
    with _counting(parts, doing) as count:
        measures = assess_multi_label(predictor, data, list(parts.values()), views=views, after_batch=count)
    key = images_key(data, list(parts.values()))
    return measures, LabelSets(measures.labels, measures.predicted, measures.probabilities, names_of_images(parts), key)


@contextmanager
def _counting(parts: Mapping[str, Split], doing: str) -> Iterator[Callable[[torch.Tensor, torch.Tensor], None]]:
    """Give a function that adds a batch of logits and labels to a progress bar."""
    done, total = 0, sum(map(len, parts.values()))
    with counting() as progress:

        def count(logits: torch.Tensor, labels: torch.Tensor) -> None:
            nonlocal done
            done += len(labels)
            progress(done, total, doing)

        yield count


def split_parts(data: Dataset, split: str) -> dict[str, Split]:
    """Return the images of a split, or of all splits, by name.

    Raises:
        ArgumentError: The data has no such split.
    """
    every = {"test": data.test, "val": data.val, "train": data.train}
    splits = {name: part for name, part in every.items() if part is not None and len(part)}
    chosen = {name: part for name, part in splits.items() if split in (name, "all")}
    if not chosen:
        other = "val" if "val" in splits else "all"
        raise ArgumentError("split", f"{data.name} has no {split} split; evaluate on {other}")
    return chosen


def _warn(run: Run, data: Dataset, split: str, *, own_data: bool) -> None:
    """Warn of what gives the figures another meaning than expected."""
    messages = []
    if not run.finished:
        messages.append(f"{printable(run.path)} has not ended; these are its best weights so far")
    if data.skipped:
        messages.append(f"{len(data.skipped)} of the files could not be read; the first is {data.skipped[0]}")
    if not own_data and len(data.classes) < len(run.classes):
        messages.append(
            f"{printable(data.name)} has images of {len(data.classes)} of the {len(run.classes)} classes that "
            f"{printable(run.path)} was trained on; the others are not measured"
        )
    if own_data and split != "test" and data.fingerprint != run.data.fingerprint:
        name = printable(data.name)
        messages.append(f"{name} has changed since training: the network may have been trained on some of these images")
    for message in messages:
        warn(message)
