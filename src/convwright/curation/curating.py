"""Curation of a data set: features, neighbours, suspects and the corrected list."""

import time
from dataclasses import replace
from pathlib import Path

from convwright.curation.duplicates import find_duplicates
from convwright.curation.features import SIDE, see
from convwright.curation.fixed import check_list_path, decisions_of
from convwright.curation.neighbours import nearest, reduced
from convwright.curation.pool import Pool
from convwright.curation.result import Curation
from convwright.curation.suspects import FEWEST, Suspicion, merged
from convwright.data.lists import files_of, is_list, read_list
from convwright.data.opened import Data
from convwright.data.registry import SOURCES
from convwright.data.threads import Progress
from convwright.errors import DataError
from convwright.extras import require_package
from convwright.printable import printable
from convwright.training.run import Run

NEIGHBOURS = 10
"""Most similar images that an image is compared with."""


def curate_data(
    data: Data,
    features: str | Path | Run | None,
    folds: int,
    seed: int,
    accept: str,
    out: Path | None,
    progress: Progress | None = None,
) -> Curation:
    """Find suspects, or apply decisions that were made on the page; see `cw.curate`."""
    pool = Pool.of(data.dataset(largest=SIDE))
    fewest = 2 * folds
    if len(pool.learnable) < fewest:
        counted = f"{len(pool.learnable)} training and validation images"
        raise DataError(f"{printable(data.spec)} has {counted}; to find suspicious ones there must be {fewest} or more")
    root = _root(data)
    if out is not None:
        check_list_path(out, pool, root)
    if accept in ("all", "likely", "none"):
        found = _examined(data, features, folds, seed, progress)
    else:
        found = Curation(data.spec, (), pool, "")
    result = replace(found, root=root, decisions=decisions_of(accept, found.suspects, found.pool), out=str(out or ""))
    if out is not None:
        result.fixed().write(out, result.root)
    return result


def _examined(
    data: Data, features: str | Path | Run | None, folds: int, seed: int, progress: Progress | None
) -> Curation:
    if not data.dataset(largest=SIDE).multi_label:
        require_package("cleanlab.filter", "finding label errors")
    started = time.perf_counter()
    seen = see(data, features, folds, seed, progress)
    neighbours = nearest(reduced(seen.features, seed), NEIGHBOURS, progress)
    suspicion = Suspicion(seen.pool, neighbours, seen.fit)
    suspects = merged(
        suspicion.duplicates(find_duplicates(seen.pool, neighbours, progress)),
        suspicion.label_errors(),
        suspicion.unlike(),
        suspicion.outliers(),
    )
    notes = (*seen.notes, *_small_classes(suspicion))
    return Curation(data.spec, suspects, seen.pool, seen.description, notes, time.perf_counter() - started)


def _small_classes(suspicion: Suspicion) -> list[str]:
    if suspicion.fit is None:
        return []
    small = suspicion.small_classes()
    if not small:
        return []
    shown = ", ".join(small[:3]) + (f" and {len(small) - 3:,} more" if len(small) > 3 else "")
    return [f"labels of classes with fewer than {FEWEST} images were not judged: {shown}"]


def _root(data: Data) -> Path | None:
    """Return the folder that names of images are relative to; None for images of a source or in memory."""
    if data.spec in SOURCES or data.held is not None:
        return None
    path = Path(data.spec).expanduser()
    if not is_list(data.spec):
        return path
    images = read_list(path, data.columns)
    return None if images.source else files_of(images, training=False).root
