"""Rankings: what accuracy each network of a study reached, with intervals, and what can be distinguished."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import mean
from typing import Any

from convwright.arch.cost import cost
from convwright.arch.resolution import Resolution, parse_resolution
from convwright.scaling.experiment import Experiment
from convwright.scaling.halving import Task
from convwright.scaling.outcome import Outcome
from convwright.stats.means import Mean, difference, indistinguishable, mean_of_seeds


@dataclass(frozen=True)
class RankedNetwork:
    """A network of a study, with its results at its longest training."""

    name: str
    rule: str
    """Name of the rule by which the network was scaled."""
    network: str
    """Expression of the network."""
    coordinates: Mapping[str, float]
    """alpha, beta and gamma, or phi and the factors."""
    resolution: Resolution
    params: int
    macs: int
    epochs: float
    accuracies: Mapping[int, float]
    """Accuracy by seed: on the test images if the experiment measures it, else on the validation images."""
    diverged: int = 0
    """Number of training runs that diverged, whose accuracy is 0."""

    @property
    def mean(self) -> Mean:
        """Mean accuracy over the seeds, with its interval."""
        return mean_of_seeds(list(self.accuracies.values()))

    @property
    def phi(self) -> float | None:
        """Compound coefficient of a family's member; None for a candidate of a search."""
        return self.coordinates.get("phi")

    def to_dict(self) -> dict[str, object]:
        """Return all fields, and the mean with half its interval."""
        return {
            "name": self.name,
            "rule": self.rule,
            "network": self.network,
            "place": dict(self.coordinates),
            "resolution": self.resolution,
            "params": self.params,
            "macs": self.macs,
            "epochs": self.epochs,
            "accuracies": {str(seed): value for seed, value in sorted(self.accuracies.items())},
            "mean": self.mean.value,
            "half": self.mean.margin,
            "diverged": self.diverged,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "RankedNetwork":
        """Return a network from what `to_dict` returned."""
        fields = {name: data[name] for name in ("name", "rule", "network", "resolution", "params", "macs", "epochs")}
        accuracies = {int(seed): value for seed, value in data["accuracies"].items()}
        fields["resolution"] = parse_resolution(fields["resolution"])
        return cls(**fields, coordinates=data["place"], accuracies=accuracies, diverged=data.get("diverged", 0))


@dataclass(frozen=True)
class Comparison:
    """Compound scaling against another rule at about the same multiply-adds."""

    compound: RankedNetwork
    other: RankedNetwork
    lead: Mean
    """Mean difference in accuracy, paired by seed; above 0 where compound scaling is better."""

    def to_dict(self) -> dict[str, object]:
        """Return both names and the difference."""
        names = {"compound": self.compound.name, "other": self.other.name}
        return names | {"lead": self.lead.value, "half": self.lead.margin}


def rank(experiment: Experiment, results: Mapping[Task, Outcome]) -> list[RankedNetwork]:
    """Return the networks that have results: those trained longest first, then by accuracy."""
    by_length: dict[int, dict[float, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
    for task, outcome in results.items():
        tested = experiment.tested and outcome.test_accuracy is not None
        value = outcome.test_accuracy if tested else outcome.accuracy
        by_length[task.candidate][task.epochs][task.seed] = float(value or 0.0)
    ranked = []
    for index, lengths in by_length.items():
        candidate, longest = experiment.candidates[index], max(lengths)
        diverged = sum(
            outcome.diverged is not None
            for task, outcome in results.items()
            if (task.candidate, task.epochs) == (index, longest)
        )
        network = candidate.network
        ranked.append(
            RankedNetwork(
                candidate.name,
                candidate.rule,
                network.name,
                candidate.coordinates,
                network.resolution,
                cost(network).params,
                candidate.macs,
                longest,
                lengths[longest],
                diverged,
            )
        )
    return sorted(ranked, key=lambda each: (-each.epochs, -each.mean.value, each.name))


def all_diverged(results: Mapping[Task, Outcome]) -> bool:
    """Return whether there are results, and every training diverged."""
    return bool(results) and all(outcome.diverged is not None for outcome in results.values())


def verdict(networks: Iterable[RankedNetwork], finished: bool = True) -> str:
    """Return a sentence on which network is best, and which ones are statistically indistinguishable from it.

    Args:
        networks: The ranking, as `rank` returns it.
        finished: Whether every training of the study has ended.
    """
    ordered = list(networks)
    if not ordered:
        return "No training has ended yet."
    last = [each for each in ordered if each.epochs == ordered[0].epochs]
    best = last[0]
    if best.diverged == len(best.accuracies):
        return "No network is best: all training runs of the last rung diverged; try a lower learning rate."
    if len(last) == 1:
        return _alone(best, len(ordered), finished)
    found = "Best is" if finished else "Not all training runs have ended; best so far is"
    if len(best.accuracies) < 2:
        return f"{found} {best.name}, by one seed, which gives no interval; use 3 seeds or more."
    results = {index: each.accuracies for index, each in enumerate(last)}
    near = [last[index].name for index in indistinguishable(results) if index != 0]
    gap = difference(best.accuracies, last[1].accuracies)
    lead = f"{100 * gap.value:+.2f} points" + (f" (± {100 * gap.margin:.2f})" if gap.margin is not None else "")
    if not near:
        return f"{found} {best.name}, {lead} before the next; it is better than every other (95 % level)."
    names = "; ".join(near[:3]) + (f"; and {len(near) - 3} more" if len(near) > 3 else "")
    return (
        f"{found} {best.name}, {lead} before the next; with {len(best.accuracies)} seeds it is statistically "
        f"indistinguishable from {names} (95 % level, all comparisons together). More seeds or longer training may "
        "separate them."
    )


def _alone(network: RankedNetwork, ranked: int, finished: bool) -> str:
    """Return the verdict on a network that no other was trained as long as."""
    if not finished:
        return f"Nothing can be compared yet: only {network.name} was trained for {network.epochs:.3g} epochs."
    if ranked == 1:
        return f"There was nothing to compare: {network.name} is the only network of the study."
    return f"Best is {network.name}, by the shorter training runs; nothing else was trained as long."


def comparisons(networks: Iterable[RankedNetwork]) -> list[Comparison]:
    """Return, for each compound member and each other network of the same phi, the difference in accuracy."""
    listed = list(networks)
    compound = {each.phi: each for each in listed if each.rule == "compound"}
    found = []
    for each in listed:
        phi = each.phi
        if each.rule != "compound" and phi in compound:
            mine = compound[phi]
            found.append(Comparison(mine, each, difference(mine.accuracies, each.accuracies)))
    return sorted(found, key=lambda each: (each.compound.macs, each.other.rule))


def overall(compared: Iterable[Comparison]) -> dict[str, Mean]:
    """Return, by rule, the mean lead of compound scaling over all sizes that both have; seeds are paired."""
    by_rule: dict[str, list[Comparison]] = defaultdict(list)
    for each in compared:
        by_rule[each.other.rule].append(each)
    leads = {}
    for rule, pairs in by_rule.items():
        seeds = set.intersection(*({*each.compound.accuracies} & {*each.other.accuracies} for each in pairs))
        if seeds:
            gaps = [
                mean(each.compound.accuracies[seed] - each.other.accuracies[seed] for each in pairs)
                for seed in sorted(seeds)
            ]
            leads[rule] = mean_of_seeds(gaps)
    return leads
