"""The order of execution of a checkpoint's layers, where their names imply it.

A name is a path of components (`layer1.0.conv2`). The order of two layers is known where the first components that
differ have the same text and other numbers (`layer1`, `layer2`; `conv3a`, `conv3b`), or words with an order in `_WORDS`
(`bn1`, `layer1`). Otherwise the order is unknown: that of the keys in a file depends on the program that wrote it.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, groupby, takewhile

_WORDS = (
    ("stem", "conv_stem", "embedder", "init_block"),
    ("conv", "bn", "norm", "se", "se_module", "body"),
    ("trans",),
    ("layer", "layers", "block", "blocks", "stage", "stages", "inception", "mixed", "res", "encoder", "unit", "units"),
    ("downsample", "shortcut", "identity_conv"),
    (
        "head",
        "conv_head",
        "classifier",
        "classif",
        "last_linear",
        "linear",
        "fc",
        "output",
        "final_block",
        "post_activ",
    ),
)
"""Words of components of one parent, in order of execution; words of one line run in the order of their numbers."""
_RANKS = {word: rank for rank, words in enumerate(_WORDS) for word in words}
_NUMBERED_TOGETHER = 1
"""Rank of the words that are numbered together: `conv1`, `bn1`, `conv2`."""
_UNRANKED = len(_WORDS)

# Where names do not imply the order: (network pattern, name pattern, replacement).
_RESPELT = tuple(
    (re.compile(network), re.compile(pattern), replacement)
    for network, pattern, replacement in (
        (r"densenet264d", r"^features\.((?:conv|norm)[012])$", r"features.stem.\1"),
        (r"densenet", r"\bdense(?:block)?(\d+)\b", r"layer\1a"),
        (r"densenet", r"\btransition(\d+)\b", r"layer\1b"),
        (r"densenet", r"\bnorm5$", r"head.norm5"),
        (r"preact_", r"^norm$", r"head.norm"),
        (r"efficientnet|mobilenet", r"^(bn2|_bn1)$", r"head.\1"),
        (r"inception_v3", r"^Conv2d_(\d[ab])_\dx\d\b", r"layer\1"),
        (r"inception_v3", r"^Mixed_(\d[a-e])\b", r"layer\1"),
        (r"inception_v3", r"\bbranch1x1\b", r"branch1"),
        (r"inception_v3", r"\bbranch([357])x\1_", r"branch2."),
        (r"inception_v3", r"\bbranch([357])x\1\b", r"branch2"),
        (r"inception_v3", r"\bbranch(?:([37])x\1dbl|7x7x3)_", r"branch3."),
        (r"inception_v3", r"\bbranch_pool\b", r"branch4"),
        (r"inception_v4", r"\bbranch(\d)_", r"branch\1."),
        (r"inception_resnet_v2", r"^(?:conv2d|mixed)_([1-6][ab]|7a)\b", r"layer\1"),
        (r"inception_resnet_v2", r"^repeat\b(?!_)", r"layer5c"),
        (r"inception_resnet_v2", r"^repeat_1\b", r"layer6b"),
        (r"inception_resnet_v2", r"^repeat_2\b", r"layer7b"),
        (r"inception_resnet_v2", r"^block8\b", r"layer7c"),
        (r"inception_resnet_v2", r"^conv2d_7b\b", r"layer7d"),
    )
)
_SIZE_OR_NUMBER = re.compile(r"\d+(?:x\d+)+|(\d+)([a-z](?![a-z]))?")


@dataclass(frozen=True)
class Step:
    """A component of a name: its text, and the numbers in it, each with the letter that follows it."""

    text: str
    numbers: tuple[tuple[int, str], ...]

    @classmethod
    def of(cls, component: str) -> "Step":
        """Split a component; a size of filters (`3x3`) is text."""
        component = component.lower().strip("_")
        numbers = [found for found in _SIZE_OR_NUMBER.finditer(component) if found[1]]
        text = _SIZE_OR_NUMBER.sub(lambda found: "#" if found[1] else found[0], component)
        return cls(text, tuple((int(found[1]), found[2] or "") for found in numbers))

    @cached_property
    def rank(self) -> int:
        """Position of the word in `_WORDS`."""
        return _RANKS.get(self.text.rstrip("#_"), _UNRANKED)

    @cached_property
    def key(self) -> tuple[object, ...]:
        """Sort key for components of one parent: their order where it is known, elsewhere any fixed order."""
        together = self.rank == _NUMBERED_TOGETHER and self.numbers
        return (self.rank, "" if together else self.text, self.numbers, self.text)

    def precedes(self, other: "Step") -> bool | None:
        """Return whether this component runs before another one of the same parent; None where that is unknown."""
        if self.text == other.text:
            return self.numbers < other.numbers if self.numbers != other.numbers else None
        if self.rank != other.rank:
            return None if _UNRANKED in (self.rank, other.rank) else self.rank < other.rank
        if self.rank == _NUMBERED_TOGETHER and len(self.numbers) == len(other.numbers) == 1:
            return self.numbers < other.numbers if self.numbers != other.numbers else None
        return None


Path = tuple[Step, ...]


def paths(names: Iterable[str], network: str) -> dict[str, Path]:
    """Return the layers of a checkpoint for a network, by name, in the order in which they run.

    The result depends only on the set of names. Components that all names start with are left out of the paths.
    """
    found = {
        name: tuple(map(Step.of, _respelt(rest, network).split(".")))
        for name, rest in without_common_start(names).items()
    }
    return dict(sorted(found.items(), key=lambda item: ([step.key for step in item[1]], item[0])))


def without_common_start(names: Iterable[str]) -> dict[str, str]:
    """Return names without the first components that all of them share, by the whole names."""
    split = {name: name.split(".") for name in names}
    same = common_length([parts[:-1] for parts in split.values()])
    return {name: ".".join(parts[same:]) for name, parts in split.items()}


def common_length(sequences: Sequence[Sequence[str]]) -> int:
    """Return the number of first items that all sequences share."""
    return sum(1 for _ in takewhile(lambda items: len(set(items)) == 1, zip(*sequences, strict=False)))


def _respelt(name: str, network: str) -> str:
    for of, pattern, replacement in _RESPELT:
        if of.match(network):
            name = pattern.sub(replacement, name)
    return name


def in_order(first: Path, second: Path) -> bool:
    """Return whether the names of two layers imply that the first one runs before the second one."""
    differing = next(((a, b) for a, b in zip(first, second, strict=False) if a != b), None)
    return differing is not None and differing[0].precedes(differing[1]) is True


def contradiction(order: Sequence[tuple[Path, int]]) -> tuple[int, int] | None:
    """Return the positions of two layers whose names contradict their order of execution, the later one first.

    Args:
        order: Paths and their positions in the order of execution, sorted as `paths` sorts them.

    Returns:
        The two positions; None if the names contradict none.
    """
    children = [(step, list(group)) for step, group in groupby(order, key=lambda item: item[0][:1])]
    spans = [(step[0], min(group, key=_place)[1], max(group, key=_place)[1]) for step, group in children if step]
    for (first, _, last), (second, begin, _) in combinations(spans, 2):
        if last > begin and first.precedes(second):
            return last, begin
    for step, group in children:
        if step and len(group) > 1 and (found := contradiction([(path[1:], place) for path, place in group])):
            return found
    return None


def _place(item: tuple[Path, int]) -> int:
    return item[1]
