"""Cross-validation: a run for each fold of the training and validation images, with the mean of their accuracies."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convwright.display.progress import print_progress
from convwright.display.result import Block, Lines, Paragraph, Result, Table
from convwright.display.wording import counted
from convwright.errors import ArgumentError, UsageError
from convwright.files import names_in, write_text
from convwright.places import check_folder
from convwright.printable import printable
from convwright.stats.means import Mean, mean_of_folds
from convwright.training.field_errors import FieldError
from convwright.training.prepare import prepare
from convwright.training.records import measure_of
from convwright.training.request import TrainRequest
from convwright.training.run import Run
from convwright.training.run_names import name_of_run, numbered_paths
from convwright.training.start import Execution, resume_run, train_plan

REQUEST = "cross_validation.yaml"
"""The file with the request in the folder of the runs."""
EXECUTION = frozenset(
    {"out", "cache_gb", "workers", "checkpoint_every", "tensorboard", "mlflow", "cluster", "cores_per_task"}
)
"""Fields of a request that do not change its runs."""


@dataclass(frozen=True)
class CrossValidation(Result):
    """The runs of a cross-validation."""

    path: Path
    """The folder of the runs."""
    runs: tuple[Run, ...]

    @property
    def measure(self) -> str:
        """What the runs are measured by: `accuracy`, or `mAP` of multi-label runs."""
        return measure_of(self.runs[0].metrics[-1])[0]

    @property
    def scores(self) -> tuple[float, ...]:
        """Score of each run on its validation images at the end of training, from 0 to 1."""
        return tuple(measure_of(run.metrics[-1])[1] for run in self.runs)

    @property
    def best_scores(self) -> tuple[float, ...]:
        """Score of the weights that each run keeps, which were chosen on the same validation images."""
        return tuple(run.summary.score for run in self.runs)

    @property
    def mean(self) -> Mean:
        """Mean of the scores, with an interval at 95 % that allows for shared training images (Nadeau, Bengio 2003)."""
        images = [run.data.images for run in self.runs]
        return mean_of_folds(self.scores, sum(each["val"] / each["train"] for each in images) / len(images))

    @property
    def interval(self) -> tuple[float, float] | None:
        """Limits of the interval, from 0 to 1; None where all scores are equal."""
        mean = self.mean
        return None if mean.margin is None else (max(0.0, mean.value - mean.margin), min(1.0, mean.value + mean.margin))

    def to_dict(self) -> dict[str, object]:
        """Return mean and interval, and the scores of each fold."""
        rows = zip(self.runs, self.scores, self.best_scores, strict=True)
        return {
            "path": str(self.path),
            "measure": self.measure,
            "mean": self.mean.value,
            "interval": None if self.interval is None else list(self.interval),
            "folds": [
                {"fold": run.config.fold, "run": str(run.path), "images": run.data.images["val"], "score": score,
                 "best": best}
                for run, score, best in rows
            ],
        }  # fmt: skip

    def blocks(self) -> Iterable[Block]:
        """Yield the scores of each fold, and their mean with its interval."""
        rows = [
            (f"{run.config.fold}", f"{run.data.images['val']:,}", f"{score:.2%}", f"{best:.2%}", printable(run.path))
            for run, score, best in zip(self.runs, self.scores, self.best_scores, strict=True)
        ]
        yield Table(("fold", "images", f"{self.measure} at the end", "best", "run"), rows)
        shown = (
            "all folds are equal" if self.interval is None else "95 % interval {:.2%} to {:.2%}".format(*self.interval)
        )
        yield Lines(f"mean {self.measure} {self.mean.value:.2%} ({shown}) of {counted(len(self.runs), 'fold')}")
        yield Paragraph(
            "The mean is of the ends of training. The best weights of each run were chosen on the same images, so that "
            "their figures are a little too high."
        )


def cross_validate_request(
    request: TrainRequest,
    callbacks: Sequence[object] = (),
    *,
    progress: bool = True,
    as_run: Callable[[Run], Run] = lambda run: run,
) -> CrossValidation:
    """Train a run for each fold, or resume those that are not finished; finished ones are kept.

    What the first run finds out, such as its epochs in its share of the minutes, holds for the others too. Without
    `out`, runs of the same request are found again.

    Args:
        request: The request, with `folds`.
        callbacks: Objects with methods of `Callback`, called during each run.
        progress: Whether to show how far training has come.
        as_run: Function that gives the runs of the result their methods.

    Raises:
        FieldError: The request has no `folds`, or names one fold.
        ArgumentError: The folder has runs of another request, or something else.
    """
    if request.folds is None:
        raise FieldError("folds", "missing; give the number of folds, such as 5")
    if request.fold is not None:
        raise FieldError("fold", "trains one fold only; omit it to train all folds")
    text = _text_of(request)
    out = request.out or _folder_of(request, text)
    _check_request(text, out)
    runs: list[Run] = []
    for fold in range(1, request.folds + 1):
        if progress:
            print_progress(f"fold {fold} of {request.folds}")
        runs.append(as_run(_run_of_fold(request, out, fold, callbacks, progress=progress)))
    return CrossValidation(out, tuple(runs))


def _run_of_fold(request: TrainRequest, out: Path, fold: int, callbacks: Sequence[object], *, progress: bool) -> Run:
    path = out / f"fold-{fold}"
    if path.is_dir() and any(path.iterdir()):
        return resume_run(Run.open(path), callbacks, Execution.of(request), progress=progress)
    execution: dict[str, Any] = {name: value for name, value in request.given().items() if name in EXECUTION}
    own = execution | {"fold": fold, "out": path}
    if fold == 1:
        if request.minutes is not None and request.folds is not None:
            own["minutes"] = request.minutes / request.folds
        return train_plan(prepare(request.changed(**own), progress=progress), callbacks, progress=progress)
    # The configuration of the first run, with everything that was found out for it.
    first = TrainRequest.from_yaml(out / "fold-1" / "config.yaml", **own)
    return train_plan(prepare(first, progress=progress), callbacks, progress=progress)


def _text_of(request: TrainRequest) -> str:
    """Return what the runs are made of."""
    return TrainRequest(**{name: value for name, value in request.given().items() if name not in EXECUTION}).to_yaml()


def _folder_of(request: TrainRequest, text: str) -> Path:
    """Return the folder of the request's runs: runs/NETWORK-DATA-folds, or -2, -3, ... where others are in it."""
    for path in numbered_paths(name_of_run(request), "-folds"):
        if not path.exists():
            return path
        with suppress(OSError, UnicodeDecodeError):
            if (path / REQUEST).read_text(encoding="utf-8") == text:
                return path
    raise AssertionError("the numbers of folders have no end")


def _check_request(text: str, out: Path) -> None:
    """Write the request beside the runs, or check that it is the one that they were made of."""
    check_folder("out", out)
    file = out / REQUEST
    try:
        known = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        if names_in(out):
            raise ArgumentError(
                "out", f"{printable(out)} exists and is no cross-validation; name a new folder"
            ) from None
        out.mkdir(parents=True, exist_ok=True)
        write_text(file, text)
        return
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {printable(file)}: {error}") from None
    if known != text:
        changed = sorted(set(text.splitlines()) ^ set(known.splitlines()))
        raise ArgumentError(
            "out", f"{printable(out)} has runs of other options (such as {changed[0].strip()!r}); name a new folder"
        )
