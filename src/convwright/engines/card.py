"""What an exported file says of itself: preprocessing, classes and how it was verified. No torch in here."""

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self

from convwright import json_text
from convwright.arch.node import LARGEST_NUMBER, brief, fits
from convwright.errors import UsageError

KEY = "convwright"
"""Under which the card stands in a file's metadata, as JSON."""
VERSION, FIRST_VERSION = 2, 1
"""Of the format. In the first one, `weights` is the digest of the file itself where no other holds its weights."""
DIGEST_PLACEHOLDER, PENDING = "unsealed" * 4, "pending-" * 4
"""What `seal` and `weights` say while a file is written; as long as the digests that replace them."""
INTERPOLATIONS = ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos")
"""How images are resized: Pillow's names."""
STORED_PRECISIONS = ("f32", "int8")
LARGEST_SIDE = 2**15
"""Pixels on each side of the largest image that a file is read for."""


@dataclass(frozen=True)
class Card:
    """All that must be known to use an exported network.

    The network takes uint8 images, N x `channels` x `resolution` x `resolution`, RGB or grey, and returns logits, N x
    classes. `mean` and `std` (scale 0 to 1) are told for the record: normalising is part of the network.
    """

    network: str
    """Its expression."""
    classes: tuple[str, ...]
    channels: int
    resolution: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    crop: float
    """Side of the square cut from an image's centre, as a share of its short side, and resized."""
    interpolation: str
    precision: str = "f32"
    """"f32" or "int8"."""
    description: dict[str, Any] = field(default_factory=dict)
    """The network in JSON, as `Network.from_json` reads it."""
    verified: dict[str, Any] = field(default_factory=dict)
    """What the file was compared with before it was written, and how well it agreed."""
    weights: str = ""
    """Digest of the file beside that holds the weights (OpenVINO's .bin); empty where they are in the same file."""
    seal: str = ""
    """Digest of the file that holds this card, with `DIGEST_PLACEHOLDER` in this field; empty outside of a file."""
    version: int = VERSION

    def to_json_text(self) -> str:
        """Return the card as JSON on one line, in ASCII."""
        return json_text.dump(asdict(self), ascii_only=True)

    @classmethod
    def from_json_text(cls, text: str | bytes, where: object) -> Self:
        """Read a card and check the type and range of every field.

        Args:
            text: The card in JSON, as `to_json_text` writes it.
            where: The file that holds it, for error messages.

        Raises:
            UsageError: The text is not a sound card; the message names the file and the field.
        """
        data = json_text.parse(text, f"{where}: its card")
        if isinstance(data, dict) and data.get("version") == FIRST_VERSION:
            data = {"weights": ""} | data | {"seal": ""}
        elif not isinstance(data, dict) or data.get("version") != VERSION:
            found = brief(data.get("version")) if isinstance(data, dict) else None
            raise UsageError(
                f"{where}: exported in version {found} of the format; this Convwright reads version {VERSION}; "
                "export the network again"
            )
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in data.items()
        }
        for name, hint in _HINTS.items():
            if name not in values:
                raise UsageError(f"{where}: its card lacks {name!r}; export the network again")
            if not fits(values[name], hint):
                raise _wrong(where, name, data[name])
        if unknown := sorted(values.keys() - _HINTS.keys()):
            raise UsageError(f"{where}: its card has an unknown field {brief(unknown[0])}; export the network again")
        card = cls(**values)
        for name in _out_of_range(card):
            raise _wrong(where, name, data[name])
        return card


_HINTS: dict[str, Any] = {
    "network": str,
    "classes": tuple[str, ...],
    "channels": int,
    "resolution": int,
    "mean": tuple[float, ...],
    "std": tuple[float, ...],
    "crop": float,
    "interpolation": str,
    "precision": str,
    "description": dict,
    "verified": dict,
    "weights": str,
    "seal": str,
    "version": int,
}
assert _HINTS.keys() == {each.name for each in fields(Card)}
_RIGHT = {
    "network": "the network's expression",
    "classes": "a list of one or more names, none of them empty",
    "channels": f"a whole number from 1 to {LARGEST_NUMBER:,}",
    "resolution": f"a whole number from 1 to {LARGEST_SIDE:,}",
    "mean": "a list of one number for each channel",
    "std": "a list of one number above 0 for each channel",
    "crop": "a number above 0 and up to 1",
    "interpolation": f"one of {', '.join(INTERPOLATIONS)}",
    "precision": f"one of {', '.join(STORED_PRECISIONS)}",
    "description": "the network as an object",
    "verified": "an object whose 'engines' have 'milliseconds' each",
    "weights": "empty or a digest of 32 hexadecimal digits",
    "seal": "empty or a digest of 32 hexadecimal digits",
    "version": f"{FIRST_VERSION} or {VERSION}",
}


def _wrong(where: object, name: str, value: object) -> UsageError:
    return UsageError(f"{where}: its card's {name!r} must be {_RIGHT[name]}, not {brief(value)}")


def _out_of_range(card: Card) -> Iterator[str]:
    """Yield the names of fields whose values have the right type and make no sense."""
    sound = {
        "network": bool(card.network),
        "classes": bool(card.classes) and all(card.classes),
        "channels": 1 <= card.channels <= LARGEST_NUMBER,
        "resolution": 1 <= card.resolution <= LARGEST_SIDE,
        "mean": len(card.mean) == card.channels and all(abs(value) <= LARGEST_NUMBER for value in card.mean),
        "std": len(card.std) == card.channels and all(0 < value <= LARGEST_NUMBER for value in card.std),
        "crop": 0 < card.crop <= 1,
        "interpolation": card.interpolation in INTERPOLATIONS,
        "precision": card.precision in STORED_PRECISIONS,
        "verified": _is_record(card.verified),
        "weights": is_digest(card.weights),
        "seal": is_digest(card.seal),
    }
    yield from (name for name, good in sound.items() if not good)


def is_digest(text: object) -> bool:
    """Whether this is a digest as `files.digest` returns it, or an empty text."""
    return isinstance(text, str) and re.fullmatch(r"(?:[0-9a-f]{32})?", text) is not None


def _is_record(verified: dict[str, Any]) -> bool:
    """Whether the record of a verification has what choosing an engine needs, in the right types."""
    engines = verified.get("engines", {})
    if not isinstance(engines, dict) or not all(isinstance(facts, dict) for facts in engines.values()):
        return False
    times = [facts.get("milliseconds") for facts in engines.values()]
    if not all(fits(time, float) and 0 <= time <= LARGEST_NUMBER for time in times):
        return False
    images = verified.get("images", 1)
    texts = [verified.get(name, "") for name in ("convwright", "on")]
    return type(images) is int and images >= 1 and all(isinstance(text, str) for text in texts)
