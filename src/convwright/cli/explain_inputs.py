"""What the commands of `explain` share: options that are read, a bench to measure variants of a network on, and what
`explain cam` is pointed at: trained networks, and the images that each of them reads."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from glob import has_magic
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convwright.cli.inputs import find_images, name_of
from convwright.cli.output import complain
from convwright.cli.places import check_file
from convwright.errors import ConvwrightError, UsageError
from convwright.zoo.reading import is_network, read_network

if TYPE_CHECKING:
    import torch

    from convwright.data import Dataset, Split
    from convwright.explain.variants import Change, VariantBench
    from convwright.prediction.network import AnyImage, Predictor
    from convwright.training.run import Run

BATCH = 64
CHANGED = "Change: of accuracy against {}, in percentage points, and its interval, from pairs of answers to each image."
"""What the columns of `changed` are; to be completed by what is compared with."""


@dataclass(frozen=True)
class Subject:
    """A trained network, what it is called beside others, and the run that it comes from."""

    title: str
    predictor: "Predictor"
    run: "Run | None"


@dataclass
class Images:
    """Images as each network reads them, under the same names."""

    names: list[str]
    truths: list[str | None]
    pixels: "list[list[torch.Tensor]]"
    """A list for each network: C x H x W, uint8."""
    source: str
    """Where they come from, in words."""
    troubles: list[str] = field(default_factory=list)
    """What could not be read."""


def part(names: Sequence[str], images: Sequence[str]) -> tuple[list[str], list[str]]:
    """Tell networks from images where a shell has made `--images *.png` into many names."""
    if not images:
        return list(names), []
    from convwright.data.images import IMAGE_SUFFIXES

    also = [name for name in names if Path(name).suffix.lower() in IMAGE_SUFFIXES or has_magic(name)]
    return [name for name in names if name not in also], [*images, *also]


def open_subjects(names: Sequence[str], weights: str | None, device: str) -> list[Subject]:
    """Load runs, and networks with published weights. UsageError for what is neither."""
    from convwright.prediction.network import load
    from convwright.training.run import Run

    found = []
    for name in names:
        if Path(name).exists() or not is_network(name):
            found.append(Subject(Path(name).resolve().name, load(name, device), Run.open(Path(name))))
            continue
        if weights is None:
            raise UsageError(f"{name} is a network, not a run directory; to use published weights, add --weights")
        from convwright.prediction.pretrained import pretrained

        found.append(Subject(name, pretrained(read_network(name), weights, device), None))
    titles = [subject.title for subject in found]
    return [
        Subject(f"{one.title} ({titles[: at + 1].count(one.title)})", one.predictor, one.run)
        if titles.count(one.title) > 1
        else one
        for at, one in enumerate(found)
    ]


def from_files(subjects: Sequence[Subject], names: Sequence[str], count: int | None) -> Images:
    """Read files, folders and patterns; what cannot be read is left out and told."""
    inputs = find_images(names, None)
    files = inputs.files[:count]
    images = _read(subjects, list(files), list(map(name_of, files)), [None] * len(files))
    images.troubles[:0] = inputs.troubles
    return images


def from_data(subjects: Sequence[Subject], spec: str | None, count: int) -> Images:
    """Draw images that were held out of training from the runs' own data, or from other data."""
    from convwright.explain.samples import as_read, chosen, held_out

    data = _open(subjects, spec)
    name, split = held_out(data)
    _check_held_out(subjects, data, name, other=spec is not None)
    drawn = chosen(split, count)
    truths: list[str | None] = [data.classes[label] for label in drawn.labels.tolist()]
    source = f"{name} images of {data.name}"
    if drawn.names and all((Path(data.name) / file).is_file() for file in drawn.names):
        return _read(subjects, [Path(data.name) / file for file in drawn.names], list(drawn.names), truths, source)
    names = list(drawn.names or (f"{name}-{row}" for row in _rows(split, drawn)))
    return Images(names, truths, [as_read(subject.predictor, drawn) for subject in subjects], source)


def _read(
    subjects: Sequence[Subject],
    files: "Sequence[AnyImage]",
    names: list[str],
    truths: list[str | None],
    source: str = "",
) -> Images:
    """Read files with every network's own preprocessing. ConvwrightError if none can be read."""
    columns = []
    for subject in subjects:
        starts = range(0, len(files), BATCH)
        columns.append([one for at in starts for one in subject.predictor.read_all(files[at : at + BATCH])])
    good = [row for row, cells in enumerate(zip(*columns, strict=True)) if not any(map(_failed, cells))]
    troubles = [str(next(filter(_failed, cells))) for cells in zip(*columns, strict=True) if any(map(_failed, cells))]
    if not good:
        raise ConvwrightError(f"none of the images could be read: {troubles[0]}")
    pixels = [[column[row] for row in good] for column in columns]
    return Images(
        [names[row] for row in good],
        [truths[row] for row in good],
        pixels,
        source or ("1 file" if len(good) == 1 else f"{len(good)} files"),
        troubles,
    )


def _failed(result: object) -> bool:
    return isinstance(result, ConvwrightError)


def _open(subjects: Sequence[Subject], spec: str | None) -> "Dataset":
    """Open the data at its own resolution if it has one, else at the largest that a network reads."""
    from convwright.data import SOURCES, open_dataset
    from convwright.display.progress import counting

    configs = [subject.run.config for subject in subjects if subject.run]
    if spec is None:
        own = list(dict.fromkeys(config.data for config in configs))
        if len(configs) < len(subjects) or not own:
            raise UsageError("a network with published weights has no data of its own; give --images or --data")
        if len(own) > 1:
            raise UsageError(f"the runs were trained on different data ({', '.join(own)}); give --images or --data")
        spec = own[0]
    resolution = None if spec in SOURCES else max(subject.predictor.network.resolution for subject in subjects)
    split = {"val_share": configs[0].val_share, "seed": configs[0].seed} if configs else {}
    with counting() as progress:
        return open_dataset(spec, resolution=resolution, progress=progress, max_bad=1.0, **split)  # type: ignore[arg-type]


def _check_held_out(subjects: Sequence[Subject], data: "Dataset", name: str, *, other: bool) -> None:
    """UsageError where one run's validation images are another's training images."""
    runs = [subject.run for subject in subjects if subject.run]
    splits = {(run.config.seed, run.config.val_share) for run in runs}
    if name == "val" and not other and len(splits) > 1:
        raise UsageError(
            f"{data.name} has no test images, and the runs hold out different images to validate on; "
            "give --images or --data"
        )


def _rows(split: "Split", drawn: "Split") -> list[int]:
    """Return where in the split the drawn images are."""
    if drawn.rows is None:
        return list(range(len(drawn)))
    places = drawn.rows.tolist()
    if split.rows is None:
        return places
    return [(split.rows == place).nonzero()[0].item() for place in places]


def warn(images: Images) -> None:
    """Say on standard error what could not be read."""
    for trouble in images.troubles:
        complain(trouble)


def read_shares(option: str, text: str) -> list[float]:
    """Read ``0.1,0.2``. UsageError for what is not a share."""
    shares = []
    for part in filter(None, map(str.strip, text.split(","))):
        try:
            shares.append(float(part))
        except ValueError:
            raise UsageError(f"{option} takes shares from 0 to 1 such as 0.1,0.2, not {part!r}") from None
        if not 0 <= shares[-1] <= 1:
            raise UsageError(f"{option} takes shares from 0 to 1 such as 0.1,0.2, not {part!r}")
    if not shares:
        raise UsageError(f"{option} takes shares from 0 to 1 such as 0.1,0.2; none is given")
    return shares


def check_html(out: Path | None) -> None:
    """UsageError where a page cannot be written, before any work is done."""
    if out is None:
        return
    if out.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"--out {out}: the figures are a page, which is named .html")
    check_file("--out", out)


@contextmanager
def measuring(
    run: "Run", predictor: "Predictor", split: str, variants: int, data: "Dataset | None" = None
) -> "Iterator[VariantBench]":
    """Give a bench with the run's images, and show how far measuring so many variants has come."""
    from convwright.display.progress import counting
    from convwright.explain.variants import SPLITS, VariantBench
    from convwright.training.run_data import open_run_data

    data = data or open_run_data(run)
    done = 0
    with counting() as progress:

        def tell(images: int) -> None:
            nonlocal done
            done += images
            progress(done, variants * len(bench.images), f"measuring on {SPLITS[split]} images")

        bench = VariantBench(predictor, data, split, tell)
        yield bench


def changed(change: "Change | None") -> tuple[str, str]:
    """Return the cells of a table for a change of accuracy, and for its interval; None: there is nothing before it."""
    if change is None:
        return "-", "-"
    return f"{100 * change.difference:+.2f}", " to ".join(f"{100 * bound:+.2f}" for bound in change.interval)


def change_facts(change: "Change | None") -> dict[str, Any]:
    """Return a change of accuracy for JSON, as shares of the images."""
    return {"change": change and change.difference, "change_interval": change and change.interval}
