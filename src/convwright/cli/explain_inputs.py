"""What the commands of `explain` share: options that are read, and a bench to measure variants of a network on."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from convwright.errors import UsageError

if TYPE_CHECKING:
    from convwright.data import Dataset
    from convwright.explain.bench import Bench
    from convwright.training.predictor import Predictor
    from convwright.training.run import Run


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
    if not out.parent.is_dir():
        raise UsageError(f"--out {out}: there is no folder {out.parent}")


@contextmanager
def measuring(
    run: "Run", predictor: "Predictor", split: str, variants: int, data: "Dataset | None" = None
) -> "Iterator[Bench]":
    """Give a bench with the run's images, and show how far measuring so many variants has come."""
    from convwright.cli.progress import counting
    from convwright.cli.runs import open_run_data
    from convwright.explain.bench import SPLITS, Bench

    data = data or open_run_data(run)
    done = 0
    with counting() as progress:

        def tell(images: int) -> None:
            nonlocal done
            done += images
            progress(done, variants * len(bench.images), f"measuring on {SPLITS[split]} images")

        bench = Bench(predictor, data, split, tell)
        yield bench
