"""What a study found, as plain values that are written to its folder, read again, drawn and shown."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from convwright.arch.cost import cost
from convwright.arch.resolution import Resolution, parse_resolution
from convwright.scaling.experiment import Experiment
from convwright.scaling.halving import Schedule, Task
from convwright.scaling.outcome import Outcome
from convwright.scaling.ranking import Comparison, RankedNetwork, comparisons, overall, rank, verdict
from convwright.stats.means import Mean

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Training:
    """A training run of a study."""

    network: str
    """Name of the candidate."""
    seed: int
    epochs: float
    outcome: Outcome

    def to_dict(self) -> dict[str, object]:
        """Return network, seed, epochs and the outcome's fields."""
        return {"network": self.network, "seed": self.seed, "epochs": self.epochs} | self.outcome.to_dict()

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Training":
        """Return a training run from what `to_dict` returned."""
        outcome = {name: value for name, value in data.items() if name not in ("network", "seed", "epochs")}
        return cls(data["network"], data["seed"], data["epochs"], Outcome.from_dict(outcome))


@dataclass(frozen=True)
class Findings:
    """What a study found: its networks in the order of their ranking, and every training."""

    base: str
    base_macs: int
    resolution: Resolution
    data: str
    split: str
    """The images that accuracies are measured on: `validation` or `test`."""
    recipe: str | None
    schedule: Schedule
    networks: tuple[RankedNetwork, ...]
    trainings: tuple[Training, ...]
    finished: bool

    @property
    def is_family(self) -> bool:
        """Whether the study trained a family over phi, and not the candidates of a search."""
        return bool(self.networks) and self.networks[0].phi is not None

    @property
    def measure(self) -> str:
        """What networks are ranked by: `accuracy`, or `mean average precision` of multi-label data."""
        return self.trainings[0].outcome.measure if self.trainings else "accuracy"

    @cached_property
    def verdict(self) -> str:
        """Sentence on which network is best, and which are statistically indistinguishable from it."""
        return verdict(self.networks, self.finished)

    @cached_property
    def comparisons(self) -> tuple[Comparison, ...]:
        """Compound scaling against each other rule, by size."""
        return tuple(comparisons(self.networks))

    @cached_property
    def overall(self) -> Mapping[str, Mean]:
        """Mean lead of compound scaling over all sizes, by the other rule."""
        return overall(self.comparisons)

    def to_dict(self) -> dict[str, object]:
        """Return all fields and what is computed from them."""
        leads = self.overall.items()
        return {
            "schema_version": SCHEMA_VERSION,
            "base": self.base,
            "base_macs": self.base_macs,
            "resolution": self.resolution,
            "data": self.data,
            "split": self.split,
            "recipe": self.recipe,
            "schedule": asdict(self.schedule),
            "finished": self.finished,
            "verdict": self.verdict,
            "networks": [each.to_dict() for each in self.networks],
            "comparisons": [each.to_dict() for each in self.comparisons],
            "overall": [
                {"other": rule, "lead": lead.value, "half": lead.margin, "seeds": lead.count} for rule, lead in leads
            ],
            "trainings": [each.to_dict() for each in self.trainings],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Findings":
        """Return findings from what `to_dict` of this or an earlier version returned."""
        names = ("base", "base_macs", "resolution", "data", "split", "recipe", "finished")
        networks = tuple(RankedNetwork.from_dict(each) for each in data["networks"])
        trainings = tuple(Training.from_dict(each) for each in data["trainings"])
        fields = {name: data[name] for name in names}
        fields["resolution"] = parse_resolution(fields["resolution"])
        return cls(**fields, schedule=Schedule(**data["schedule"]), networks=networks, trainings=trainings)

    @classmethod
    def of(cls, experiment: Experiment, results: Mapping[Task, Outcome]) -> "Findings":
        """Return what an experiment found so far."""
        return cls(
            experiment.base.name,
            cost(experiment.base).macs,
            experiment.base.resolution,
            experiment.data,
            "test" if experiment.tested else "validation",
            experiment.recipe,
            experiment.schedule,
            tuple(rank(experiment, results)),
            tuple(
                Training(experiment.candidates[task.candidate].name, task.seed, task.epochs, outcome)
                for task, outcome in sorted(results.items())
            ),
            experiment.schedule.finished({task: each.accuracy for task, each in results.items()}),
        )
