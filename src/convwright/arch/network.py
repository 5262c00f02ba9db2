"""Networks: stem, named stages and head, native resolution, and where they were published."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from convwright import json_text
from convwright.arch.block_checks import check_block
from convwright.arch.blocks import Block
from convwright.arch.cost import cost
from convwright.arch.description import NetworkDescription
from convwright.arch.node import Node, brief, check_size, check_values, foreign_types
from convwright.arch.resolution import Resolution, check_resolution, format_sides
from convwright.brief import LONGEST
from convwright.errors import NetworkError
from convwright.printable import printable

if TYPE_CHECKING:
    from convwright.arch.diagram import Drawing

MOST_BLOCKS = 10_000
"""Largest number of blocks of a network; more are a mistake."""

SCHEMA = 2
"""Version of the JSON form of a network. Schema 1 named types by their bare names."""

INITS = ("he", "efficientnet")
"""Rules of initial weights (`convwright.modules.init`)."""

SETTING = re.compile(r"(resolution|channels|classes|dropout|stochastic_depth):[\dx.e+-]+")
"""Operations that set one value of a network each, so that their order does not matter and the last of a kind holds."""


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
    """A block and the number of its repetitions; repetitions after the first have stride 1."""

    name: str
    block: Block
    repeats: int = 1

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not re.fullmatch(r"[A-Za-z_]\w*", self.name):
            raise NetworkError(f"a stage's name is a word, not {brief(self.name)}")
        check_block(self.block, f"stage {self.name}")
        if isinstance(self.repeats, int) and self.repeats > MOST_BLOCKS:
            raise NetworkError(f"{brief(self.repeats)} blocks are too many; at most {MOST_BLOCKS} are built")
        check_size(f"stage {self.name}: the number of repetitions", self.repeats)

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

    Two networks are equal when they compute the same function: `name`, `papers` and `results` are not compared.

    Args:
        name: Name, or an expression that gives the network.
        stem: First block.
        stages: Stages in order.
        head: Last block, from feature maps to one score per class.
        resolution: Side in pixels of the square images that the network is made for, or (height, width).
        channels: Input channels.
        classes: Number of classes.
        stochastic_depth: Rate at which residual branches are skipped in training.
        init: Rule of the initial weights, one of `INITS`.
        papers: Where the network was published.
        results: Figures that the papers print.
    """

    name: str = field(compare=False)
    stem: Block
    stages: tuple[Stage, ...]
    head: Block
    resolution: Resolution = 224
    channels: int = 3
    classes: int = 1000
    stochastic_depth: float = 0.0
    """Rate at which residual branches are skipped in training: 0 in the first block, and linearly more up to
    this rate just after the last."""
    init: str = "he"
    """Rule of the initial weights, one of `INITS`."""
    papers: tuple[Paper, ...] = field(default=(), compare=False)
    results: tuple[Result, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        self._check_parts()
        check_values(self, "the network")
        if (blocks := sum(stage.repeats for stage in self.stages)) > MOST_BLOCKS:
            raise NetworkError(f"{self.name}: {blocks} blocks are too many; at most {MOST_BLOCKS} are built")
        names = Counter(("stem", *(stage.name for stage in self.stages), "head"))
        if repeated := [name for name, count in names.items() if count > 1]:
            raise NetworkError(f"{self.name}: two parts are named {repeated[0]!r}")
        check_resolution(f"{self.name}: resolution", self.resolution)
        for what in ("channels", "classes"):
            check_size(f"{self.name}: {what}", getattr(self, what))
        for block in (self.stem, *(stage.block for stage in self.stages), self.head):
            if wrong := [name for name in block.strides if getattr(block, name) < 1]:
                raise NetworkError(f"{self.name}: {type(block).__name__}'s {wrong[0]} must be 1 or more")
        if self.init not in INITS:
            raise NetworkError(f"{self.name}: unknown initialisation {brief(self.init)}; known are {', '.join(INITS)}")
        if not 0 <= self.stochastic_depth < 1:
            raise NetworkError(f"{self.name}: stochastic depth is a rate from 0 to under 1")

    def _check_parts(self) -> None:
        """Check that stem and head are blocks, and that the stages are a tuple of stages."""
        if not isinstance(self.stages, tuple):
            raise NetworkError(f"{self.name}: the stages must be a tuple of Stage objects, not {brief(self.stages)}")
        for stage in self.stages:
            if not isinstance(stage, Stage):
                raise NetworkError(f'{self.name}: a stage is Stage("stage1", block, repeats), not {brief(stage)}')
        check_block(self.stem, "the stem")
        check_block(self.head, "the head")

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

        An operation that sets a value, such as `resolution:160`, takes the place of one behind which only such
        operations follow and which set the same value before.

        If nothing changes, the original is returned. A network that differs in more than its input channels or classes
        does not keep the results that were published for the original.
        """
        after = replace(self, **changes)  # type: ignore[arg-type]
        if after == self:
            return self
        results = self.results if changes.keys() <= {"channels", "classes"} else ()
        return replace(after, name=with_operation(self.name, operation), results=results)

    def draw(self) -> "Drawing":
        """Draw the network: its stages, and the inside of each kind of block.

        Returns:
            The drawing, which notebooks show. `str` of it is SVG, and `save` writes it to a file.
        """
        from convwright.arch.diagram import draw

        return draw(self)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready object with the version of its schema; `from_json` makes an equal network from it.

        Where a class is not one of Convwright's, the object has the numbers of parameters and MACs too, since another
        class may have the same name when the network is read.
        """
        described = Node.to_json(self)
        counts = {"counts": _counts(self)} if foreign_types(described) else {}
        return {"type": described.pop("type"), "schema": SCHEMA} | counts | described

    @classmethod
    def from_json(cls, data: object) -> Self:
        """Rebuild a network from the object that `to_json` returned, in this version of Convwright or an earlier one.

        Raises:
            NetworkError: The object describes no network, was written by a later version of Convwright, or names a
                class that has changed since.
        """
        counted, counts = False, None
        if isinstance(data, dict) and "schema" in data:
            schema = data["schema"]
            if type(schema) is not int or schema < 1:
                raise NetworkError(f"the JSON's schema must be a version from 1 to {SCHEMA}, not {brief(schema)}")
            if schema > SCHEMA:
                raise NetworkError(
                    f"the network was written with schema {brief(schema)}, and this version of Convwright reads up to "
                    f"schema {SCHEMA}; install a newer version"
                )
            counted, counts = "counts" in data, data.get("counts")
            data = {name: value for name, value in data.items() if name not in ("schema", "counts")}
        network = super(Network, cls).from_json(data)
        if counted and counts != (found := _counts(network)):
            raise NetworkError(
                f"the network was written with {_listed(counts)}, and now has {_listed(found)}; the class "
                f"{' or '.join(map(brief, foreign_types(data))) or 'of a block'} is another one, or has changed since"
            )
        return network

    def to_json_text(self) -> str:
        """Return the network as indented JSON; `Network.from_json_text` gives back an equal network."""
        return json_text.dump(self.to_json(), indent=1, ascii_only=True)

    @classmethod
    def from_json_text(cls, text: str | bytes, source: object = "the network") -> Self:
        """Read a network from JSON.

        Args:
            text: What `to_json_text` returned; bytes are UTF-8.
            source: What the text is called in error messages, usually its file.

        Raises:
            NetworkError: The text is not JSON, or not that of a network.
        """
        data = json_text.parse(text, source, NetworkError)
        try:
            return cls.from_json(data)
        except NetworkError as error:
            raise NetworkError(f"{source}: {error}") from None

    def __repr__(self) -> str:
        size = f"{self.channels} x {format_sides(self.resolution)} -> {self.classes} classes"
        room = LONGEST - len(f"Network '': {size}")
        name = self.name if len(self.name) <= room else f"{self.name[: room - 3]}..."
        return f"Network '{printable(name)}': {size}"

    def __str__(self) -> str:
        rows = [
            ("stem", self.stem, 1),
            *((s.name, s.block, s.repeats) for s in self.stages),
            ("head", self.head, 1),
        ]
        wide = max(len(name) for name, _, _ in rows)
        times = [f"{repeats} x " if repeats > 1 else "" for _, _, repeats in rows]
        lines = [f"  {name:{wide}}  {count:>5}{block!r}" for (name, block, _), count in zip(rows, times, strict=True)]
        size = f"{self.channels} x {format_sides(self.resolution)} -> {self.classes} classes"
        return "\n".join([f"Network {self.name!r}: {size}", *lines])

    def _repr_html_(self) -> str:
        return NetworkDescription(self, cost(self))._repr_html_()


def _counts(network: Network) -> dict[str, int] | None:
    """Return the numbers of parameters and MACs; None for a network that cannot read images of its own resolution."""
    try:
        total = cost(network)
    except NetworkError:
        return None
    return {"params": total.params, "macs": total.macs}


def _listed(counts: object) -> str:
    """Return numbers of parameters and MACs in words."""
    if counts is None:
        return "no counts"
    numbers = [counts.get(name) for name in ("params", "macs")] if isinstance(counts, dict) else []
    if len(numbers) == 2 and all(type(number) is int for number in numbers):
        return f"{numbers[0]:,} parameters and {numbers[1]:,} MACs"
    return f"the counts {brief(counts)}"


def with_operation(name: str, operation: str) -> str:
    """Return a network's name with an operation, without an earlier one that has no effect any more."""
    parts, kind = name.split("|"), operation.partition(":")[0]
    first = len(parts)
    while first > 1 and SETTING.fullmatch(parts[first - 1]):
        first -= 1
    if SETTING.fullmatch(operation):
        parts[first:] = [part for part in parts[first:] if part.partition(":")[0] != kind]
    return "|".join([*parts, operation])
