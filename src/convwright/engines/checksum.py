"""Whether an exported file is as it was written. No torch in here."""

from pathlib import Path

from convwright.engines.card import CHECKSUM_PLACEHOLDER, FIRST_VERSION, Card
from convwright.errors import UsageError, warn
from convwright.files import digest, digest_of

WEIGHTS = {".xml": ".bin"}
"""Suffix of the second file that holds the weights, by suffix of the exported file."""


def weights_file(path: Path) -> Path | None:
    """Return the second file that holds the weights of an exported file; None where they are in the file itself."""
    return path.with_suffix(WEIGHTS[path.suffix]) if path.suffix in WEIGHTS else None


def check_checksums(path: Path, card: Card) -> None:
    """Check that an exported file, and its weights file where it has one, are as they were written.

    Args:
        path: The exported file.
        card: Its card.

    Raises:
        UsageError: A bit has changed, a file cannot be read, or the weights are missing or of another export.
    """
    weights = weights_file(path)
    if weights is not None and not weights.is_file():
        raise UsageError(f"{path}: its weights are not beside it: there is no {weights.name}")
    try:
        if card.version == FIRST_VERSION:
            intact, same_weights = _check_first_version(path, card, weights)
        else:
            intact = bool(card.checksum) and card.checksum == file_checksum(path.read_bytes(), card.checksum)
            same_weights = card.weights_checksum == ("" if weights is None else digest(weights))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror or error}") from None
    if not intact:
        raise UsageError(f"{path}: its checksum is wrong, so it is damaged or was edited; export it again")
    if not same_weights:
        name = path.name if weights is None else weights.name
        raise UsageError(f"{path}: {name} belongs to another export; export it again")


def _check_first_version(path: Path, card: Card, weights: Path | None) -> tuple[bool, bool]:
    """Return whether a file of the first version and its weights are as written, where the version records it."""
    expected = card.weights_checksum
    if weights is None:
        return not expected or expected == file_checksum(path.read_bytes(), expected), True
    warn(f"{path}: exported by an earlier version, which checks only {weights.name}; export it again to check both")
    return True, not expected or expected == digest(weights)


def file_checksum(content: bytes, written: str) -> str:
    """Return the checksum of a file as it was before its card held the checksum.

    Args:
        content: The file's content.
        written: Checksum in its card, which has replaced `CHECKSUM_PLACEHOLDER`.
    """
    place = content.find(written.encode())
    if place < 0 or not written:
        return digest_of(content)
    whole = memoryview(content)  # copying a large file would take as long as its checksum
    return digest_of(whole[:place], CHECKSUM_PLACEHOLDER.encode(), whole[place + len(written) :])
