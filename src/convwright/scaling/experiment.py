"""What a study trains: networks on one data set, how long and how often, and by which recipe."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from math import log2
from typing import Any

from convwright.arch import Network
from convwright.scaling.halving import Schedule, Task
from convwright.training.config import difference


@dataclass(frozen=True)
class Candidate:
    """A network that takes part."""

    name: str
    network: Network
    place: Mapping[str, float]
    """Its coordinates: alpha, beta and gamma of a grid, or a family member's factors."""
    macs: int
    group: str = "compound"
    """The rule by which it grew."""


@dataclass(frozen=True)
class Experiment:
    """All that the results of a study depend on. Two studies with equal ones are the same."""

    base: Network
    candidates: tuple[Candidate, ...]
    schedule: Schedule
    data: str
    fingerprint: str
    """Of the data at the base's resolution."""
    recipe: str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the recipe that were given one by one."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Fields of `TrainConfig`: batch size, precision, share of validation images."""
    tested: bool = False
    """Is each network measured on the test split too, once it is trained?"""

    def network(self, task: Task) -> Network:
        """Return the network of a task."""
        return self.candidates[task.candidate].network

    def work(self, task: Task) -> float:
        """Multiply-adds of a task's forward passes, for each training image: what it takes, relative to others."""
        return self.candidates[task.candidate].macs * task.epochs

    @property
    def total_work(self) -> float:
        """Of all tasks together, in the mean over candidates where a rung has not chosen them yet."""
        typical = sum(candidate.macs for candidate in self.candidates) / len(self.candidates)
        return self.schedule.total_epochs * typical

    def in_order(self, tasks: list[Task]) -> list[Task]:
        """Sort tasks so that workers end together: the longest first; seed by seed among those of a length."""
        return sorted(tasks, key=lambda task: (-_magnitude(self.work(task)), task.seed, task.candidate))

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready object from which `from_json` makes an equal experiment."""
        return {
            "base": self.base.to_json(),
            "entrants": [
                {"name": one.name, "group": one.group, "place": dict(one.place), "macs": one.macs}
                | {"network": one.network.to_json()}
                for one in self.candidates
            ],
            "schedule": asdict(self.schedule),
            "data": self.data,
            "fingerprint": self.fingerprint,
            "recipe": self.recipe,
            "fields": dict(self.fields),
            "options": dict(self.options),
            "tested": self.tested,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Experiment":
        """Rebuild an experiment. KeyError, TypeError or ConvwrightError if it is none."""
        candidates = tuple(
            Candidate(one["name"], Network.from_json(one["network"]), one["place"], one["macs"], one["group"])
            for one in data["entrants"]
        )
        own = {name: data[name] for name in ("data", "fingerprint", "recipe", "fields", "options", "tested")}
        return cls(Network.from_json(data["base"]), candidates, Schedule(**data["schedule"]), **own)

    def difference_from(self, before: Mapping[str, Any]) -> str:
        """Tell in what a stored experiment (`to_json`) differs from this one; empty if it does not."""
        now = self.to_json()
        if (one := before["base"]["name"]) != self.base.name:
            return f"the base network is {one} there and {self.base.name} here"
        if before["fingerprint"] != self.fingerprint:
            if before["data"] != self.data:
                return f"the data is {before['data']} there and {self.data} here"
            return f"the images of {self.data} are not those that it was begun with"
        names = [[one["name"] for one in side["entrants"]] for side in (before, now)]
        if names[0] != names[1]:
            return f"it compares {len(names[0])} other networks ({names[0][0]}, ...) there, {len(names[1])} here"
        before = dict(before) | {"data": self.data}  # the same images may lie elsewhere on another machine
        plain = [{name: side[name] for name in side if name not in ("entrants", "base")} for side in (before, now)]
        if told := difference(plain[0], plain[1]):
            return told.replace("the run began with", "it was begun with")
        return "" if before == now else "a network has changed since"


def _magnitude(work: float) -> int:
    """Tasks within a factor of about 1.4 count as equally long."""
    return round(2 * log2(max(work, 1e-9)))
