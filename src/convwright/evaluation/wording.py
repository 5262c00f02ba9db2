"""Phrases that the results of evaluations share."""

from collections.abc import Iterator, Sequence

from convwright.printable import printable


def images_in_words(count: int, split: str, other_data: str = "") -> str:
    """Return the images of an evaluation: ``359 test images``.

    Args:
        count: Number of images.
        split: `test`, `val`, `train` or `all`.
        other_data: The data, where it is not the run's own.
    """
    which = f"{'' if split == 'all' else split + ' '}{'image' if count == 1 else 'images'}"
    return f"{count:,} {which}" + (f" of {printable(other_data)}" if other_data else "")


def view_notes(views: Sequence[str], *, augmented: bool) -> Iterator[str]:
    """Yield a line on test-time augmentation, where it was requested.

    Args:
        views: The views over which probabilities were averaged.
        augmented: Whether augmentation was requested.
    """
    if len(views) > 1:
        yield f"averaged over {len(views)} views of each image: {', '.join(views)}"
    elif augmented:
        yield "test-time augmentation changes nothing: the run was trained without crops and mirror images"
