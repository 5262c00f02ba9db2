"""What a study trains: networks on one data set, how long and how often, and with which recipe."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from math import log2
from typing import Any

from convwright.arch import Network
from convwright.scaling.halving import Schedule, Task
from convwright.training.recipes import earlier_fields, recorded_fields


@dataclass(frozen=True)
class StudyCandidate:
    """A network of a study."""

    name: str
    network: Network
    coordinates: Mapping[str, float]
    """alpha, beta and gamma of a grid point, or phi and the factors of a family's member."""
    macs: int
    rule: str = "compound"
    """Name of the rule by which it was scaled."""

    def to_dict(self) -> dict[str, object]:
        """Return a JSON-ready object from which `from_dict` makes an equal candidate."""
        return {
            "name": self.name,
            "group": self.rule,
            "place": dict(self.coordinates),
            "macs": self.macs,
            "network": self.network.to_json(),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "StudyCandidate":
        """Return a candidate from what `to_dict` returned."""
        return cls(data["name"], Network.from_json(data["network"]), data["place"], data["macs"], data["group"])


@dataclass(frozen=True)
class Experiment:
    """Everything that the results of a study depend on. Two studies of equal experiments are the same."""

    base: Network
    candidates: tuple[StudyCandidate, ...]
    schedule: Schedule
    data: str
    fingerprint: str
    """Fingerprint of the data at the base's resolution."""
    recipe: str | None = None
    fields: Mapping[str, object] = field(default_factory=dict)
    """Fields of the recipe that replace those of `recipe`."""
    options: Mapping[str, object] = field(default_factory=dict)
    """Fields of `TrainConfig`: batch size, precision, share of validation images."""
    tested: bool = False
    """Whether each trained network is measured on the test images too."""

    def network(self, task: Task) -> Network:
        """Return the network of a task."""
        return self.candidates[task.candidate].network

    def work(self, task: Task) -> float:
        """Return the multiply-adds of a task's forward passes for each training image, to compare tasks by."""
        return self.candidates[task.candidate].macs * task.epochs

    @property
    def total_work(self) -> float:
        """Work of all tasks. Candidates of a rung that is not chosen yet count with the mean of all candidates."""
        typical = sum(candidate.macs for candidate in self.candidates) / len(self.candidates)
        return self.schedule.total_epochs * typical

    @property
    def alone(self) -> str:
        """A sentence where a search has one candidate only, so that nothing can be compared; else empty."""
        if len(self.candidates) > 1:
            return ""
        return (
            f"{self.candidates[0].name} is the only candidate, so there is nothing to compare; a smaller step, a "
            "larger tolerance or a larger base gives more"
        )

    def in_order(self, tasks: list[Task]) -> list[Task]:
        """Sort tasks so that workers end at about the same time: the longest first, then seed by seed."""
        return sorted(tasks, key=lambda task: (-_magnitude(self.work(task)), task.seed, task.candidate))

    def to_dict(self) -> dict[str, object]:
        """Return a JSON-ready object from which `from_dict` makes an equal experiment."""
        return {
            "base": self.base.to_json(),
            "entrants": [candidate.to_dict() for candidate in self.candidates],
            "schedule": asdict(self.schedule),
            "data": self.data,
            "fingerprint": self.fingerprint,
            "recipe": self.recipe,
            "recipe_fields": recorded_fields(self.recipe),
            "fields": dict(self.fields),
            "options": dict(self.options),
            "tested": self.tested,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Experiment":
        """Return an experiment from what `to_dict` returned.

        Raises:
            KeyError, TypeError, ConvwrightError: The object is no experiment.
        """
        candidates = tuple(StudyCandidate.from_dict(each) for each in data["entrants"])
        others = {name: data[name] for name in ("data", "fingerprint", "recipe", "fields", "options", "tested")}
        return cls(Network.from_json(data["base"]), candidates, Schedule(**data["schedule"]), **others)

    def difference_from(self, stored: Mapping[str, Any]) -> str:
        """Return how a stored experiment differs from this one, as a sentence; empty if it does not.

        Args:
            stored: What `to_dict` of this or an earlier version returned.
        """
        before = Experiment.from_dict(stored)
        if before.base.name != self.base.name:
            return f"the base network is {before.base.name} there and {self.base.name} here"
        if before.fingerprint != self.fingerprint:
            if before.data != self.data:
                return f"the data is {before.data} there and {self.data} here"
            return f"the images of {self.data} are not those of the stored study"
        names, current = ([each.name for each in side.candidates] for side in (before, self))
        if names != current:
            return f"it compares {len(names)} other networks ({names[0]}, ...) there, {len(current)} here"
        there, here = before.to_dict(), self.to_dict()
        there["recipe_fields"] = stored.get("recipe_fields", earlier_fields(before.recipe))  # not those of this version
        # Not the data's name, since the images may be stored elsewhere.
        compared = ("schedule", "recipe", "recipe_fields", "fields", "options", "tested")
        difference = _first_difference(
            {name: there[name] for name in compared}, {name: here[name] for name in compared}
        )
        difference = difference.replace("recipe_fields.", f"in the recipe {self.recipe}, ", 1)
        if difference or (before.base, before.candidates) == (self.base, self.candidates):
            return difference
        return "a network has changed since"


def _first_difference(there: Mapping[str, Any], here: Mapping[str, Any], within: str = "") -> str:
    for name in dict.fromkeys([*there, *here]):
        before, now = there.get(name), here.get(name)
        if isinstance(before, Mapping) and isinstance(now, Mapping):
            if found := _first_difference(before, now, f"{within}{name}."):
                return found
        elif before != now:
            return f"{within}{name} is {before!r} there and {now!r} here"
    return ""


def _magnitude(work: float) -> int:
    """Return a number that is equal for tasks within a factor of about 1.4."""
    return round(2 * log2(max(work, 1e-9)))
