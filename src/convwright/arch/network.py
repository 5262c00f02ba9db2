"""A network: stem, named stages and head, the size of image it is made for, and where it was published."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Self

from convwright.arch.blocks import Block
from convwright.arch.node import Node
from convwright.errors import NetworkError

MOST_BLOCKS = 10_000
"""A deeper network is taken for a mistake."""


@dataclass(frozen=True, repr=False, slots=True)
class Paper(Node):
    """Where a network, or an idea in it, was published."""

    title: str
    authors: str
    year: int
    arxiv: str

    def __str__(self) -> str:
        return f"{self.authors}, {self.title}, {self.year} (arXiv {self.arxiv})"


@dataclass(frozen=True, repr=False, slots=True)
class Result(Node):
    """One figure that a paper prints: ``Result("ImageNet", "top-1 error", 24.8)``, in percent."""

    dataset: str
    metric: str
    value: float


@dataclass(frozen=True, repr=False, slots=True)
class Stage(Node):
    """A block and how often it stands in sequence; from its second time on it has stride 1."""

    name: str
    block: Block
    repeats: int = 1

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z_]\w*", self.name):
            raise NetworkError(f"a stage's name is a word, not {self.name!r}")
        if self.repeats < 1:
            raise NetworkError(f"stage {self.name} must hold at least one block, not {self.repeats}")

    @property
    def blocks(self) -> tuple[Block, ...]:
        """Every block of the stage, in order."""
        return (self.block, *[self.block.repeated()] * (self.repeats - 1))


class PlacedBlock(NamedTuple):
    """A block, the stage it belongs to, and the path that names it in costs and modules."""

    stage: str
    path: str
    block: Block


@dataclass(frozen=True, repr=False, slots=True)
class Network(Node):
    """A convolutional network as data.

    Two networks are equal when they compute alike: `name`, `papers` and `results` do not count.
    `resolution` is the height and width in pixels of the images that the network is made for.
    """

    name: str = field(compare=False)
    stem: Block
    stages: tuple[Stage, ...]
    head: Block
    resolution: int = 224
    channels: int = 3
    classes: int = 1000
    stochastic_depth: float = 0.0
    """Rate at which residual branches are skipped in training: 0 in the first block, and linearly more up to
    this rate just after the last."""
    init: str = "he"
    """How weights start: "he" or "efficientnet" (see `convwright.modules.init`)."""
    papers: tuple[Paper, ...] = field(default=(), compare=False)
    results: tuple[Result, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        names = ["stem", *(stage.name for stage in self.stages), "head"]
        if repeated := [name for name in names if names.count(name) > 1]:
            raise NetworkError(f"{self.name}: two parts are named {repeated[0]!r}")
        if (blocks := sum(stage.repeats for stage in self.stages)) > MOST_BLOCKS:
            raise NetworkError(f"{self.name}: {blocks} blocks are too many; at most {MOST_BLOCKS} are built")
        for what in ("resolution", "channels", "classes"):
            if getattr(self, what) < 1:
                raise NetworkError(f"{self.name}: {what} must be 1 or more, not {getattr(self, what)}")
        if not 0 <= self.stochastic_depth < 1:
            raise NetworkError(f"{self.name}: stochastic depth is a rate from 0 to under 1")

    def blocks(self) -> Iterator[PlacedBlock]:
        """Yield every block in order, stem and head included; paths are like ``stage2.block3``."""
        yield PlacedBlock("stem", "stem", self.stem)
        for stage in self.stages:
            if stage.repeats == 1:
                yield PlacedBlock(stage.name, stage.name, stage.block)
                continue
            for index, block in enumerate(stage.blocks, start=1):
                yield PlacedBlock(stage.name, f"{stage.name}.block{index}", block)
        yield PlacedBlock("head", "head", self.head)

    def changed(self, operation: str, **changes: object) -> Self:
        """Return the network with fields changed and the operation appended to its name.

        Equal to the original, it is the original; changed in more than its input or output size, it no longer
        carries the results that were published for the original.
        """
        after = replace(self, **changes)  # type: ignore[arg-type]
        if after == self:
            return self
        results = self.results if changes.keys() <= {"channels", "classes"} else ()
        return replace(after, name=f"{self.name}|{operation}", results=results)

    def to_json_text(self) -> str:
        """Return the network as indented JSON; `Network.from_json_text` gives back an equal network."""
        return json.dumps(self.to_json(), indent=1)

    @classmethod
    def from_json_text(cls, text: str) -> Self:
        """Read a network from JSON. NetworkError says what is wrong with the text."""
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise NetworkError(f"not a network in JSON: {error}") from None
        return cls.from_json(data)

    def __repr__(self) -> str:
        rows = [
            ("stem", self.stem, 1),
            *((s.name, s.block, s.repeats) for s in self.stages),
            ("head", self.head, 1),
        ]
        wide = max(len(name) for name, _, _ in rows)
        times = [f"{repeats} x " if repeats > 1 else "" for _, _, repeats in rows]
        lines = [f"  {name:{wide}}  {count:>5}{block!r}" for (name, block, _), count in zip(rows, times, strict=True)]
        size = f"{self.channels} x {self.resolution} x {self.resolution} -> {self.classes} classes"
        return "\n".join([f"Network {self.name!r}: {size}", *lines])
