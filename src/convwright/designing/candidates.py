"""Candidates of a design: networks within the budget, each with the idea that it tries."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from convwright.arch import Network, at, recalibrate
from convwright.arch.cost import cost
from convwright.arch.expression import as_network
from convwright.arch.resolution import Resolution, format_resolution, resolution_of, sides
from convwright.data.opened import Data
from convwright.designing.families import BALANCED, DEEPER, WIDER, CandidateLimits, Family
from convwright.errors import ArgumentError, NetworkError
from convwright.scaling.plan import SMALLER_BASE
from convwright.scaling.rules import Rule
from convwright.training.advice import SIDES, advise
from convwright.training.request import TrainRequest

FIXED_FIELDS = ("network", "resolution", "batch_size", "epochs")
"""Fields of advice that a trial does not follow: the candidate, the data and the time determine them."""
TRIAL_FACTORS = (1, 2, 3)
"""Factors of the usual time of a trial that one with published weights may take: it often wins by far."""
MACS_TOLERANCE = 1.02
"""Largest factor of multiply-adds from a leader to its variations, which compare with it: SE adds about 1 %."""
MIN_PIXELS, MAX_PIXELS = 16, 320
"""Bounds of the resolutions that a design tries, in pixels."""


@dataclass(frozen=True)
class Candidate:
    """A network of a design with the way it is trained."""

    name: str
    family: str
    idea: str
    """What it tries, in a few words: more depth, fewer pixels, SE removed, a higher learning rate."""
    network: Network
    fields: Mapping[str, object] = field(default_factory=dict)
    """Fields of `TrainRequest` beside network and resolution."""
    parent: str | None = None
    """Name of the candidate that it varies; None for the first of a family."""
    teacher_only: bool = False
    """Whether it exceeds the budget, so that it can teach the winner but cannot be the winner."""

    @property
    def size_in_words(self) -> str:
        """Resolution, parameters and multiply-adds as text."""
        from convwright.units import human

        count = cost(self.network)
        size = format_resolution(self.network.resolution)
        return f"{size} px, {human(count.params)} parameters, {human(count.macs)} MACs"

    def to_dict(self) -> dict[str, object]:
        """Return a JSON-ready object from which `from_dict` makes an equal candidate."""
        return {
            "name": self.name,
            "family": self.family,
            "idea": self.idea,
            "parent": self.parent,
            "fields": dict(self.fields),
            "network": self.network.to_json(),
            "teacher_only": self.teacher_only,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Candidate":
        """Return a candidate from what `to_dict` returned."""
        network = Network.from_json(data["network"])
        described = data["name"], data["family"], data["idea"], network, data["fields"], data["parent"]
        return cls(*described, teacher_only=data.get("teacher_only") is True)


def with_note(name: str, note: str) -> str:
    """Return the name of a candidate that differs from a named one: `ResNet (more depth; distilled)`.

    Names stand in lists, so notes are in parentheses.

    Args:
        name: Name of the other candidate, or of a family.
        note: What is different.
    """
    return f"{name.removesuffix(')')}; {note})" if name.endswith(")") else f"{name} ({note})"


def has_note(name: str, note: str) -> bool:
    """Return whether the last note of a candidate's name is this one; earlier versions put a comma before notes.

    Args:
        name: The name.
        note: The note.
    """
    return name.endswith((f" ({note})", f"; {note})", f", {note}"))


@dataclass(frozen=True)
class LeftOut:
    """A candidate that does not take part, and why."""

    name: str
    reason: str


def scale_family(family: Family, base: Network, limits: CandidateLimits) -> Candidate | LeftOut:
    """Return the largest network of a family within the limits, or why there is none.

    Args:
        family: The family.
        base: Its base network for the images.
        limits: What a candidate may cost.
    """
    try:
        scaled = limits.scale(base, BALANCED)
    except (ArgumentError, NetworkError) as error:
        reason = str(getattr(error, "reason", error))
        return LeftOut(family.title, reason.removesuffix(f"; {SMALLER_BASE}"))  # a design chooses the base
    return Candidate(family.title, family.title, family.idea, scaled.network)


def pretrained_candidates(
    data: Data, classes: int, seconds: float, limits: CandidateLimits
) -> Iterator[Candidate | LeftOut]:
    """Yield the network with published weights that `train` would choose, if it chooses one and the budget allows it.

    Its resolution is one at which the time of a trial suffices to compute features of all images, or the smallest one
    where that takes a few times as long. Whether all weights or those of the classifier are trained follows from the
    time of its first trial.

    Args:
        data: The images.
        classes: Number of classes.
        seconds: Time of a trial of the first round.
        limits: What a candidate may cost.
    """
    for factor in TRIAL_FACTORS:
        advice = advise(TrainRequest(data=data, minutes=factor * seconds / 60))
        if advice.weights is not None:
            break
    if advice.weights is None:
        yield LeftOut("pretrained weights", advice.reason)
        return
    name, idea = with_note(advice.network, "pretrained"), f"{advice.weights} weights"
    smaller = [] if data.resolution is not None else [side for side in SIDES if side < min(sides(advice.resolution))]
    sizes, in_time = [advice.resolution, *smaller], factor == TRIAL_FACTORS[0]
    for size in sizes if in_time else sizes[-1:]:
        chosen = at(as_network(advice.network), resolution=size, classes=classes)
        if not (over := limits.exceeded_by(chosen)):
            break
    else:
        yield LeftOut(name, f"needs {over}")
        return
    fields: dict[str, object] = {"weights": advice.weights}
    if advice.freeze or (in_time and size == advice.resolution):  # the advice is that for its first trial
        fields |= {key: value for key, value in advice.fields().items() if key not in FIXED_FIELDS}
    yield Candidate(name, name, idea, chosen, fields)


def default_candidates(
    data: Data, fitted: Callable[[Network], Network], seconds: float, limits: CandidateLimits
) -> Iterator[Candidate]:
    """Yield the network that `train` would train from scratch, if it would and the budget allows it.

    Little time or few images are often better used by this small network than by the largest within the budget.

    Args:
        data: The images.
        fitted: Returns a network with the images' resolution, channels and classes.
        seconds: Time of the winner's training.
        limits: What a candidate may cost.
    """
    advice = advise(TrainRequest(data=data, minutes=seconds / 60))
    if advice.weights is None:
        network = fitted(as_network(advice.network))
        if not limits.exceeded_by(network):
            yield Candidate(advice.network, advice.network, "the network that train chooses", network)


def variations(leader: Candidate, limits: CandidateLimits) -> Iterator[Candidate | LeftOut]:
    """Yield candidates that spend the leader's budget in another way: depth, width or pixels, with or without SE.

    Args:
        leader: The candidate to vary.
        limits: What a candidate may cost.
    """
    network = leader.network
    if leader.fields.get("weights"):
        yield from _other_resolutions(leader, limits)
        return
    limits = limits.with_most_macs(MACS_TOLERANCE * cost(network).macs)
    for rule, idea in ((DEEPER, "more depth, less width"), (WIDER, "more width, less depth")):
        yield _make_variation(leader, idea, lambda rule=rule: _move_budget(network, rule, limits))
    for factor, idea in ((0.75, "fewer pixels"), (1.25, "more pixels")):
        size = _scale_resolution(network.resolution, factor)
        if size is not None:
            yield _make_variation(
                leader, idea, lambda size=size: limits.scale(at(network, resolution=size), BALANCED).network
            )
    without = recalibrate(network, None)
    if without != network:
        yield _make_variation(leader, "SE removed", lambda: limits.scale(without, BALANCED).network)
    else:
        yield _make_variation(leader, "SE added", lambda: limits.scale(recalibrate(network, 16), BALANCED).network)


def _other_resolutions(leader: Candidate, limits: CandidateLimits) -> Iterator[Candidate | LeftOut]:
    """Yield the leader at other resolutions. Its depth and width must stay, as published weights have fixed shapes."""
    for factor, idea in ((0.75, "fewer pixels"), (1.25, "more pixels")):
        size = _scale_resolution(leader.network.resolution, factor)
        if size is None:
            continue
        network = at(leader.network, resolution=size)
        if over := limits.exceeded_by(network):
            yield LeftOut(with_note(leader.family, idea), f"needs {over}")
        else:
            yield _make_variation(leader, idea, lambda network=network: network)


def _move_budget(network: Network, rule: Rule, limits: CandidateLimits) -> Network:
    """Return a network whose multiply-adds are halved, and then spent again by another rule."""
    from convwright.arch import scale

    depth, width = (0.5, 1.0) if rule is WIDER else (1.0, 0.7)
    return limits.scale(scale(network, depth, width, 1.0), rule).network


def _make_variation(leader: Candidate, idea: str, make: Any) -> Candidate | LeftOut:
    name = with_note(leader.family, idea)
    try:
        network = make()
    except (ArgumentError, NetworkError) as error:
        return LeftOut(name, getattr(error, "reason", str(error)))
    if network == leader.network:
        return LeftOut(name, f"it is the network of {leader.name}")
    return Candidate(name, leader.family, idea, network, leader.fields, leader.name)


def recipe_variations(leader: Candidate, learning_rate: float) -> Iterator[Candidate]:
    """Yield the leader's network with other ways to train it.

    Args:
        leader: The candidate to vary.
        learning_rate: Learning rate that it was trained with.
    """
    changes: list[tuple[str, dict[str, object]]] = [
        ("a higher learning rate", {"learning_rate": 2 * learning_rate}),
        ("a lower learning rate", {"learning_rate": learning_rate / 2}),
    ]
    if not leader.fields.get("weights"):
        changes += [("stronger augmentation", {"mixup": 0.2}), ("averaged weights", {"ema": 0.99})]
    for idea, fields in changes:
        name = with_note(leader.name, idea)
        yield Candidate(name, leader.family, idea, leader.network, {**leader.fields, **fields}, leader.name)


def _scale_resolution(resolution: Resolution, factor: float) -> Resolution | None:
    """Return a resolution times a factor, in multiples of 4 pixels; None beyond the bounds of a design."""
    height, width = (4 * round(side * factor / 4) for side in sides(resolution))
    if not MIN_PIXELS <= min(height, width) <= max(height, width) <= MAX_PIXELS:
        return None
    return resolution_of(height, width)
