"""Curation of a data set: features, neighbours, suspects and the corrected list."""

import time
from dataclasses import replace
from pathlib import Path

from convwright.curation.duplicates import find_duplicates
from convwright.curation.features import SIDE, compute_features
from convwright.curation.fixed import ALL, CONFIDENT, NONE, check_list_path, decisions_of
from convwright.curation.neighbours import Neighbours
from convwright.curation.pool import Pool
from convwright.curation.result import Curation
from convwright.curation.suspects import FEWEST, SuspectFinder, merged
from convwright.data.lists import files_of, is_list, read_list
from convwright.data.opened import Data
from convwright.data.registry import SOURCES
from convwright.data.threads import Progress
from convwright.errors import DataError
from convwright.extras import require_package
from convwright.printable import printable
from convwright.training.run import Run


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
    if accept in (ALL, CONFIDENT, NONE):
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
    images = compute_features(data, features, folds, seed, progress)
    neighbours = images.neighbours
    finder = SuspectFinder(images.pool, neighbours, images.fit)
    suspects = merged(
        finder.duplicates(find_duplicates(images.pool, neighbours, progress)),
        finder.label_errors(),
        finder.unlike(),
        finder.outliers(),
    )
    notes = (*images.notes, *_small_classes(finder), *_missed(neighbours))
    return Curation(data.spec, suspects, images.pool, images.description, notes, time.perf_counter() - started)


def _small_classes(finder: SuspectFinder) -> list[str]:
    if finder.fit is None:
        return []
    unjudged = finder.count_unjudged()
    notes = [f"labels of {unjudged:,} images were not judged: too few others of their class are in other groups"]
    small = finder.small_classes()
    if not small:
        return notes if unjudged else []
    shown = ", ".join(small[:3]) + (f" and {len(small) - 3:,} more" if len(small) > 3 else "")
    return [*notes[: bool(unjudged)], f"labels of classes with fewer than {FEWEST} images were not judged: {shown}"]


def _missed(neighbours: Neighbours) -> list[str]:
    if neighbours.exact:
        return []
    count = len(neighbours.positions)
    return [f"{count:,} images are too many to compare all pairs: some similar images were missed"]


def _root(data: Data) -> Path | None:
    """Return the folder that names of images are relative to; None for images of a source or in memory."""
    if data.spec in SOURCES or data.held is not None:
        return None
    path = Path(data.spec).expanduser()
    if not is_list(data.spec):
        return path
    images = read_list(path, data.columns)
    return None if images.source else files_of(images, training=False).root
