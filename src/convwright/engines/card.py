"""What an exported file records about itself: preprocessing, classes and how it was verified. No torch in here."""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from convwright import json_text
from convwright.arch.node import LARGEST_NUMBER, brief, fits
from convwright.arch.resolution import Resolution, sides
from convwright.errors import UsageError
from convwright.stats.limits import Limits, are_limits

KEY = "convwright"
"""Key of the card, as JSON, in a file's metadata."""
VERSION, FIRST_VERSION, NEWEST_VERSION = 2, 1, 4
"""Versions of the format. In the first version, `weights` is the file's own checksum where it holds its own weights.
Versions 3 and 4 have members of `NEWER`; files without them stay those of version 2."""
LAST_WITHOUT_INPUT = 3
"""Version before files had members of `NEWEST`."""
CHECKSUM_PLACEHOLDER, WEIGHTS_PLACEHOLDER = "unsealed" * 4, "pending-" * 4
"""Stand in a card for its two checksums while a file is written; as long as the checksums that replace them."""
INTERPOLATIONS = ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos")
"""How images are resized: Pillow's names."""
RESIZES, DECODERS = ("crop", "pad", "squash"), (1, 2)
INPUTS = ("tensor", "image")
"""`tensor`: uint8, N x channels x height x width; `image`: uint8, 1 x H x W x 3 of any size."""
STORED_PRECISIONS = ("f32", "int8")
LARGEST_SIDE = 2**15
"""Height and width in pixels of the largest images that a file is read for."""


@dataclass(frozen=True)
class EngineCheck:
    """How an engine ran a file when it was verified."""

    milliseconds: float
    """Median time of one image, with as many threads as cores."""
    details: Mapping[str, object] = field(default_factory=dict)
    """Agreement with the network, for information: values of JSON by name."""


@dataclass(frozen=True)
class Verification:
    """How a file was compared with its network before it was written."""

    convwright: str = ""
    """Version of Convwright that wrote it."""
    on: str = ""
    """The images, in words."""
    images: int | None = None
    """Number of images."""
    engines: Mapping[str, EngineCheck] = field(default_factory=dict)
    """Engines that agreed with the network."""

    def to_dict(self) -> dict[str, object]:
        """Return the record as values that JSON can hold, without what is not known."""
        known: dict[str, object] = {"convwright": self.convwright, "on": self.on, "images": self.images}
        values = {name: value for name, value in known.items() if value not in ("", None)}
        if self.engines:
            values["engines"] = {
                name: {**check.details, "milliseconds": check.milliseconds} for name, check in self.engines.items()
            }
        return values

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Return the record that `to_dict` described; `_is_record` must hold for it."""
        engines = {
            name: EngineCheck(
                facts["milliseconds"], {key: value for key, value in facts.items() if key != "milliseconds"}
            )
            for name, facts in stored.get("engines", {}).items()
        }
        return cls(stored.get("convwright", ""), stored.get("on", ""), stored.get("images"), engines)


@dataclass(frozen=True)
class Card:
    """All that a program must know to use an exported network.

    The file takes what `input` says, and returns logits, `N x classes`. `mean` and `std` are for information:
    normalisation is part of the network.
    """

    network: str
    """Expression of the network."""
    classes: tuple[str, ...]
    channels: int
    resolution: Resolution
    mean: tuple[float, ...]
    """Mean of each channel on the scale 0 to 1."""
    std: tuple[float, ...]
    """Standard deviation of each channel on the scale 0 to 1."""
    crop: float
    """Share of the sides that is cut from an image's centre; of the short side where `resize` is `crop`."""
    interpolation: str
    precision: str = "f32"
    """`f32` or `int8`."""
    description: dict[str, object] = field(default_factory=dict)
    """The network in JSON, as `Network.from_json` reads it."""
    verified: Verification = field(default_factory=Verification)
    """How the file was verified."""
    weights_checksum: str = ""
    """Checksum of the second file that holds the weights (OpenVINO's .bin); empty where there is none."""
    checksum: str = ""
    """Checksum of the file that holds this card, computed with `CHECKSUM_PLACEHOLDER` in this field; else empty."""
    thresholds: tuple[float, ...] | None = None
    """For a multi-label network the probability from which on each class is predicted; probabilities are the sigmoid of
    the logits. None for a network that predicts one class an image: probabilities are the softmax of the logits."""
    resize: str = "crop"
    """`crop` fits the short side and cuts the centre, `pad` adds borders of grey value 128, `squash` changes the
    proportions."""
    decoder: int = 2
    """Version of Convwright's decoder of images that the network was trained with."""
    integer_range: tuple[float, float] | None = None
    """Range of the values of 32-bit images, which becomes 0 to 255; None where the network was trained without such."""
    float_range: tuple[float, float] | None = None
    """Range of the values of floating-point images, likewise."""
    input: str = "tensor"
    """`tensor`: uint8 images, N x channels x height x width, RGB or grey. `image`: one RGB image of any size, uint8,
    1 x H x W x 3, which the file crops and resizes; OpenVINO then needs `INFERENCE_PRECISION_HINT` f32."""
    outputs: tuple[str, ...] = ("logits",)
    """Names of the file's outputs; further ones are an activation map, or what the network does not know."""
    limits: Limits | None = None
    """Temperature, thresholds of prediction sets and of energy; None where they are not known."""
    version: int = VERSION

    @property
    def network_alone(self) -> bool:
        """Whether the file holds nothing but the network, from a tensor to logits."""
        return self.input == "tensor" and self.outputs == ("logits",)

    @property
    def multi_label(self) -> bool:
        """Whether the network predicts any number of classes for an image."""
        return self.thresholds is not None

    def to_dict(self) -> dict[str, object]:
        """Return the card as values that JSON can hold, under the names that files have."""
        values = {_STORED.get(name, name): value for name, value in vars(self).items()}
        limits = None if self.limits is None else self.limits.to_dict()
        values |= {"verified": self.verified.to_dict(), "multi_label": self.multi_label, "limits": limits}
        newer = {name for name, usual in NEWER.items() if values[name] != usual}
        kept = {name: value for name, value in values.items() if name not in NEWER or name in newer}
        version = NEWEST_VERSION if newer & NEWEST else LAST_WITHOUT_INPUT if newer else VERSION
        return kept | {"version": version}

    def to_json_text(self) -> str:
        """Return the card as JSON on one line, in ASCII."""
        return json_text.dump(self.to_dict(), ascii_only=True)

    @classmethod
    def from_json_text(cls, text: str | bytes, where: object) -> Self:
        """Read a card and check the type and range of every field.

        Args:
            text: The card in JSON, as `to_json_text` writes it.
            where: The file that holds it, for error messages.

        Raises:
            UsageError: The text is not a valid card; the message names the file and the field.
        """
        data = json_text.parse(text, f"{where}: its card")
        if isinstance(data, dict) and data.get("version") == FIRST_VERSION:
            data = {"weights": ""} | data | {"seal": ""}
        elif not isinstance(data, dict) or data.get("version") not in range(VERSION, NEWEST_VERSION + 1):
            found = brief(data.get("version")) if isinstance(data, dict) else None
            raise UsageError(
                f"{where}: exported in version {found} of the format; this Convwright reads versions up to "
                f"{NEWEST_VERSION}; export the network again"
            )
        if data["version"] > VERSION:
            data = NEWER | data
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in data.items()
        }
        hints = _HINTS | (_NEWER_HINTS if data["version"] > VERSION else {})
        for name, hint in hints.items():
            if name not in values:
                raise UsageError(f"{where}: its card lacks {name!r}; export the network again")
            if not fits(values[name], hint):
                raise _wrong(where, name, data[name])
        if unknown := sorted(values.keys() - hints.keys()):
            raise UsageError(f"{where}: its card has an unknown field {brief(unknown[0])}; export the network again")
        for name in _out_of_range(values):
            raise _wrong(where, name, data[name])
        fields = {_FIELDS.get(name, name): value for name, value in values.items() if name != "multi_label"}
        limits = None if values.get("limits") is None else Limits.from_dict(values["limits"])
        return cls(**fields | {"verified": Verification.from_dict(values["verified"]), "limits": limits})


NEWER: Mapping[str, Any] = {
    **{"multi_label": False, "thresholds": None, "resize": "crop", "decoder": 2},
    **{"integer_range": None, "float_range": None, "input": "tensor"},
    **{"outputs": ("logits",), "limits": None},
}
"""Fields of versions 3 and 4 in a file, with the values that they have where they are left out."""
NEWEST = frozenset(("input", "outputs", "limits"))
"""Fields of version 4 only."""
_STORED = {"weights_checksum": "weights", "checksum": "seal"}
"""Names in files of the fields whose names differ there."""
_FIELDS = {stored: name for name, stored in _STORED.items()}
_HINTS: dict[str, Any] = {
    "network": str,
    "classes": tuple[str, ...],
    "channels": int,
    "resolution": Resolution,
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
"""Types of the fields in a file."""
_NEWER_HINTS: dict[str, Any] = {
    **{"multi_label": bool, "thresholds": tuple[float, ...] | None, "resize": str, "decoder": int},
    **{"integer_range": tuple[float, float] | None, "float_range": tuple[float, float] | None, "input": str},
    **{"outputs": tuple[str, ...], "limits": dict | None},
}
_VALID = {
    "network": "the network's expression",
    "classes": "a list of one or more names, none of them empty",
    "channels": f"a whole number from 1 to {LARGEST_NUMBER:,}",
    "resolution": f"a whole number from 1 to {LARGEST_SIDE:,}, or height and width",
    "mean": "a list of one number for each channel",
    "std": "a list of one number above 0 for each channel",
    "crop": "a number above 0 and up to 1",
    "interpolation": f"one of {', '.join(INTERPOLATIONS)}",
    "precision": f"one of {', '.join(STORED_PRECISIONS)}",
    "description": "the network as an object",
    "verified": "an object whose 'engines' have 'milliseconds' each",
    "weights": "empty or a checksum of 32 hexadecimal digits",
    "seal": "empty or a checksum of 32 hexadecimal digits",
    "version": f"{FIRST_VERSION} to {NEWEST_VERSION}",
    "multi_label": "true where there are thresholds, else false",
    "thresholds": "a list of one number from 0 to 1 for each class",
    "resize": f"one of {', '.join(RESIZES)}",
    "decoder": f"one of {', '.join(map(str, DECODERS))}",
    "integer_range": "a list of two numbers, the smaller first",
    "float_range": "a list of two numbers, the smaller first",
    "input": f"one of {', '.join(INPUTS)}",
    "outputs": "a list of names that starts with 'logits'",
    "limits": "null, or an object as `Limits.to_dict` returns it, of a network with one label for each image",
}


def _wrong(where: object, name: str, value: object) -> UsageError:
    return UsageError(f"{where}: its card's {name!r} must be {_VALID[name]}, not {brief(value)}")


def _out_of_range(values: Mapping[str, Any]) -> Iterator[str]:
    """Yield the names of fields whose values have the right type and are out of range."""
    mean, std, channels = values["mean"], values["std"], values["channels"]
    valid = {
        "network": bool(values["network"]),
        "classes": bool(values["classes"]) and all(values["classes"]),
        "channels": 1 <= channels <= LARGEST_NUMBER,
        "resolution": all(1 <= side <= LARGEST_SIDE for side in sides(values["resolution"])),
        "mean": len(mean) == channels and all(abs(value) <= LARGEST_NUMBER for value in mean),
        "std": len(std) == channels and all(0 < value <= LARGEST_NUMBER for value in std),
        "crop": 0 < values["crop"] <= 1,
        "interpolation": values["interpolation"] in INTERPOLATIONS,
        "precision": values["precision"] in STORED_PRECISIONS,
        "verified": _is_record(values["verified"]),
        "weights": is_checksum(values["weights"]),
        "seal": is_checksum(values["seal"]),
        "resize": values.get("resize", "crop") in RESIZES,
        "decoder": values.get("decoder", 2) in DECODERS,
        "input": values.get("input", "tensor") in INPUTS,
        "outputs": values.get("outputs", ("logits",))[:1] == ("logits",),
        "limits": values.get("limits") is None or (are_limits(values["limits"]) and values.get("thresholds") is None),
    }
    for name in ("integer_range", "float_range"):
        low, high = values.get(name) or (0.0, 0.0)
        valid[name] = -math.inf < low <= high < math.inf
    if (thresholds := values.get("thresholds")) is not None:
        valid["thresholds"] = len(thresholds) == len(values["classes"]) and all(0 <= each <= 1 for each in thresholds)
    valid["multi_label"] = values.get("multi_label", False) is (thresholds is not None)
    yield from (name for name, good in valid.items() if not good)


def is_checksum(text: object) -> bool:
    """Return whether a value is a checksum as `files.digest` returns it, or an empty text."""
    return isinstance(text, str) and re.fullmatch(r"(?:[0-9a-f]{32})?", text) is not None


def _is_record(verified: Mapping[str, Any]) -> bool:
    """Return whether the record of a verification has what choosing an engine needs, in the right types."""
    engines = verified.get("engines", {})
    if not isinstance(engines, dict) or not all(isinstance(facts, dict) for facts in engines.values()):
        return False
    times = [facts.get("milliseconds") for facts in engines.values()]
    if not all(fits(time, float) and 0 <= time <= LARGEST_NUMBER for time in times):
        return False
    images = verified.get("images", 1)
    texts = [verified.get(name, "") for name in ("convwright", "on")]
    return type(images) is int and images >= 1 and all(isinstance(text, str) for text in texts)
