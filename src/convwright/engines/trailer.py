"""The card after the end of a file whose format has no place for texts of its own: LiteRT and ExecuTorch.

Both formats record where their parts are, and their engines ignore what follows: Android's tools append lists of
classes to LiteRT files in the same way.
"""

from pathlib import Path

from convwright.engines.card import Card

MAGIC = b"convwrit"
"""Last bytes of a file with a card; before them stands the card's length, 8 bytes, the lowest first."""
MOST_BYTES = 2**26
"""No card is longer; a damaged file may record any length."""
_LENGTH = 8


def with_trailer(content: bytes, card: Card) -> bytes:
    """Return a file's content with a card after its end."""
    text = card.to_json_text().encode()
    return b"".join([content, b"\n", text, len(text).to_bytes(_LENGTH, "little"), MAGIC])


def read_trailer(path: Path) -> str | None:
    """Return the card after the end of a file; None where there is none.

    Raises:
        OSError: The file cannot be read.
        ValueError: The card is not text, or longer than the file.
    """
    size, end = path.stat().st_size, _LENGTH + len(MAGIC)
    if size < end:
        return None
    with path.open("rb") as file:
        file.seek(size - end)
        last = file.read(end)
        if last[_LENGTH:] != MAGIC:
            return None
        length = int.from_bytes(last[:_LENGTH], "little")
        if length > min(size - end, MOST_BYTES):
            raise ValueError("its card is longer than the file")
        file.seek(size - end - length)
        return file.read(length).decode()
