"""How a study stands: what each network reached, how sure that is, and who cannot be told apart."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from statistics import mean
from typing import Any

from convwright.arch.cost import cost
from convwright.scaling.experiment import Candidate, Experiment
from convwright.scaling.halving import Task
from convwright.scaling.trial import Outcome
from convwright.stats.means import Mean, difference, indistinguishable, mean_of_seeds


@dataclass(frozen=True)
class Row:
    """A network's results at its longest training."""

    candidate: Candidate
    epochs: float
    accuracies: Mapping[int, float]
    """By seed: on the test images where the experiment measures them, else on the validation images."""
    params: int
    diverged: int = 0
    """Trainings that diverged, which count as 0."""

    @property
    def mean(self) -> Mean:
        """The mean over seeds, with its interval."""
        return mean_of_seeds(list(self.accuracies.values()))


def rows_of(experiment: Experiment, results: Mapping[Task, Outcome]) -> list[Row]:
    """Return a row for each network that has results: those trained longest first, then by accuracy."""
    by_length: dict[int, dict[float, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
    for task, outcome in results.items():
        tested = experiment.tested and outcome.test_accuracy is not None
        value = outcome.test_accuracy if tested else outcome.accuracy
        by_length[task.candidate][task.epochs][task.seed] = float(value or 0.0)
    rows = []
    for index, lengths in by_length.items():
        candidate, longest = experiment.candidates[index], max(lengths)
        diverged = sum(
            outcome.diverged is not None
            for task, outcome in results.items()
            if (task.candidate, task.epochs) == (index, longest)
        )
        rows.append(Row(candidate, longest, lengths[longest], cost(candidate.network).params, diverged))
    return sorted(rows, key=lambda row: (-row.epochs, -row.mean.value, row.candidate.name))


def all_diverged(results: Mapping[Task, Outcome]) -> bool:
    """Return whether there are results, and every training diverged."""
    return bool(results) and all(outcome.diverged is not None for outcome in results.values())


def verdict(rows: Iterable[Row]) -> str:
    """Say in a sentence which network is best, and of which it cannot be told apart."""
    ordered = list(rows)
    if not ordered:
        return "No training has ended yet."
    last = [row for row in ordered if row.epochs == ordered[0].epochs]
    best = last[0]
    if best.diverged == len(best.accuracies):
        return "No network is best: all trainings of the last rung diverged; try a lower learning rate."
    if len(last) == 1:
        return f"Best is {best.candidate.name}; nothing else was trained as long."
    if len(best.accuracies) < 2:
        return f"Best is {best.candidate.name}, by one seed, which gives no interval; use --seeds 3 or more."
    results = {index: row.accuracies for index, row in enumerate(last)}
    near = [last[index].candidate.name for index in indistinguishable(results) if index != 0]
    gap = difference(best.accuracies, last[1].accuracies)
    lead = f"{100 * gap.value:+.2f} points" + (f" (± {100 * gap.half:.2f})" if gap.half is not None else "")
    if not near:
        return f"Best is {best.candidate.name}, {lead} before the next; it is better than every other (95 % level)."
    told = "; ".join(near[:3]) + (f"; and {len(near) - 3} more" if len(near) > 3 else "")
    seeds = len(best.accuracies)
    return (
        f"Best is {best.candidate.name}, {lead} before the next; with {seeds} seeds it cannot be told apart from "
        f"{told} (95 % level, all comparisons together). More seeds or longer training may tell."
    )


def comparisons(rows: Iterable[Row]) -> list[tuple[Row, Row, Mean]]:
    """Return, for each compound member and each other network of the same step, the difference in accuracy.

    Seeds are paired. The third is the first's lead: positive where compound scaling is ahead.
    """
    listed = list(rows)
    compound = {row.candidate.place.get("phi"): row for row in listed if row.candidate.group == "compound"}
    found = []
    for row in listed:
        phi = row.candidate.place.get("phi")
        if row.candidate.group != "compound" and phi in compound:
            mine = compound[phi]
            found.append((mine, row, difference(mine.accuracies, row.accuracies)))
    return sorted(found, key=lambda one: (one[0].candidate.macs, one[1].candidate.group))


def overall(rows: Iterable[Row]) -> dict[str, Mean]:
    """Return, by rule, compound scaling's lead in the mean over all sizes that both have; seeds are paired."""
    by_rule: dict[str, list[tuple[Row, Row]]] = defaultdict(list)
    for mine, other, _ in comparisons(rows):
        by_rule[other.candidate.group].append((mine, other))
    leads = {}
    for rule, pairs in by_rule.items():
        shared = set.intersection(*({*mine.accuracies} & {*other.accuracies} for mine, other in pairs))
        if shared:
            leads[rule] = mean_of_seeds(
                [
                    mean(mine.accuracies[seed] - other.accuracies[seed] for mine, other in pairs)
                    for seed in sorted(shared)
                ]
            )
    return leads


def to_json(experiment: Experiment, results: Mapping[Task, Outcome]) -> dict[str, Any]:
    """Return all that a study found, ready for JSON; every single result included."""
    rows = rows_of(experiment, results)
    return {
        "base": experiment.base.name,
        "base_macs": cost(experiment.base).macs,
        "resolution": experiment.base.resolution,
        "data": experiment.data,
        "split": "test" if experiment.tested else "validation",
        "recipe": experiment.recipe,
        "schedule": asdict(experiment.schedule),
        "finished": experiment.schedule.finished({task: one.accuracy for task, one in results.items()}),
        "verdict": verdict(rows),
        "networks": [
            {
                "name": row.candidate.name,
                "rule": row.candidate.group,
                "network": row.candidate.network.name,
                "place": dict(row.candidate.place),
                "resolution": row.candidate.network.resolution,
                "params": row.params,
                "macs": row.candidate.macs,
                "epochs": row.epochs,
                "accuracies": {str(seed): value for seed, value in sorted(row.accuracies.items())},
                "mean": row.mean.value,
                "half": row.mean.half,
                "diverged": row.diverged,
            }
            for row in rows
        ],
        "comparisons": [
            {"compound": mine.candidate.name, "other": other.candidate.name, "lead": gap.value, "half": gap.half}
            for mine, other, gap in comparisons(rows)
        ],
        "overall": [
            {"other": rule, "lead": lead.value, "half": lead.half, "seeds": lead.count}
            for rule, lead in overall(rows).items()
        ],
        "trainings": [
            {"network": experiment.candidates[task.candidate].name, "seed": task.seed, "epochs": task.epochs}
            | outcome.to_json()
            for task, outcome in sorted(results.items())
        ],
    }
