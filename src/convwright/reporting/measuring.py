"""From a run to what the page says of it: its answers to images that it was not trained on, and its speed."""

import hashlib
from collections.abc import Callable, Sequence

import torch

from convwright.data import Dataset, Split
from convwright.evaluation.assessment import assess
from convwright.prediction.network import Predictor, load
from convwright.reporting.entry import Answers, Entry, Latency
from convwright.scaling.latency import Stopwatch
from convwright.training.run import Run


def measured(
    run: Run,
    data: Dataset,
    title: str,
    *,
    other: str | None = None,
    device: str = "auto",
    stopwatch: Stopwatch | None = None,
    after_batch: Callable[[int, int], None] | None = None,
) -> Entry:
    """Evaluate a run's best weights on the data's test split, or else on its validation split.

    other: the name of the data where it is not the run's own; without a test split, all of it is taken.
    after_batch is told how many images are done, and of how many. RunError if the run has no weights yet; DataError
    if the data has other classes.
    """
    predictor = load(run.path, device)
    split, parts = chosen(data, other is not None)
    answers = answered(predictor, data, parts, after_batch)
    latency = None
    if stopwatch is not None:
        latency = Latency(stopwatch(run.network), stopwatch.threads or torch.get_num_threads())
    measures = answers.measures
    return Entry(
        title, run, measures.accuracy, measures.interval, measures.images, split, answers, latency=latency, data=other
    )


def chosen(data: Dataset, other: bool) -> tuple[str, tuple[Split, ...]]:
    """Return the images to measure on, and what they are called."""
    if data.test is not None:
        return "test", (data.test,)
    return ("all", (data.val, data.train)) if other else ("val", (data.val,))


def answered(
    predictor: Predictor,
    data: Dataset,
    parts: Sequence[Split],
    after_batch: Callable[[int, int], None] | None = None,
) -> Answers:
    """Ask a network about every image of these splits."""
    labels: list[torch.Tensor] = []
    predicted: list[torch.Tensor] = []
    confidence: list[torch.Tensor] = []
    done, total = 0, sum(map(len, parts))

    def keep(logits: torch.Tensor, truth: torch.Tensor) -> None:
        nonlocal done
        best = logits.detach().cpu().double().softmax(1).max(1)
        labels.append(truth.cpu())
        predicted.append(best.indices)
        confidence.append(best.values)
        done += len(truth)
        if after_batch:
            after_batch(done, total)

    measures = assess(predictor, data, parts, after_batch=keep)
    return Answers(
        predictor,
        data,
        tuple(parts),
        torch.cat(labels),
        torch.cat(predicted),
        torch.cat(confidence),
        measures,
        images_key(data, parts),
    )


def images_key(data: Dataset, parts: Sequence[Split]) -> str:
    """Digest which images these are, without looking at their pixels, which depend on the resolution."""
    digest = hashlib.blake2b(repr((data.name, data.classes)).encode("utf-8", "backslashreplace"), digest_size=16)
    for part in parts:
        rows = torch.arange(len(part)) if part.rows is None else part.rows
        names = repr(part.names).encode("utf-8", "backslashreplace") if part.names else rows.numpy().tobytes()
        digest.update(names + part.labels.numpy().tobytes())
    return digest.hexdigest()
