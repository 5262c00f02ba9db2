"""What an exported file says of itself: preprocessing, classes and how it was verified. No torch in here."""

import json
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self

from convwright.arch.node import fits
from convwright.errors import UsageError

KEY = "convwright"
"""Under which the card stands in a file's metadata, as JSON."""
VERSION = 1
UNSEALED = "unsealed" * 4
"""As long as a digest, for which it makes room."""


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
    """Digest of the file that holds the weights: OpenVINO's .bin, or this one, taken while it says `UNSEALED` here."""
    version: int = VERSION

    def to_json_text(self) -> str:
        """Return the card as JSON on one line."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json_text(cls, text: str, where: object) -> Self:
        """Read a card. UsageError names the file and what is wrong with its card."""
        try:
            data = json.loads(text)
        except ValueError as error:
            raise UsageError(f"{where}: its preprocessing is not readable: {error}") from None
        if not isinstance(data, dict) or data.get("version") != VERSION:
            told = data.get("version") if isinstance(data, dict) else None
            raise UsageError(f"{where}: exported in version {told!r} of the format; this Convwright reads {VERSION}")
        known = {f.name: f for f in fields(cls)}
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in data.items()
        }
        needed = [name for name in known if name not in ("precision", "description", "verified", "weights", "version")]
        for name in needed:
            if name not in values or not fits(values[name], _HINTS[name]):
                raise UsageError(f"{where}: its preprocessing lacks a sound {name!r}; export the network again")
        return cls(**{name: value for name, value in values.items() if name in known})


_HINTS: dict[str, Any] = {
    "network": str,
    "classes": tuple[str, ...],
    "channels": int,
    "resolution": int,
    "mean": tuple[float, ...],
    "std": tuple[float, ...],
    "crop": float,
    "interpolation": str,
}
