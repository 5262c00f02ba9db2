"""The result of an ablation: by how much each idea changes the accuracy, and how certain that is."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from convwright.arch.cost import cost
from convwright.arch.resolution import format_resolution
from convwright.designing.ablation import Ablation
from convwright.designing.effect import Effect
from convwright.display.figure_result import FigureResult
from convwright.display.result import Block, Heading, Lines, Paragraph, Table
from convwright.display.wording import counted
from convwright.printable import printable
from convwright.scaling.experiment import Experiment
from convwright.scaling.halving import Task
from convwright.scaling.outcome import Outcome
from convwright.stats.means import difference, mean_of_seeds
from convwright.units import human

if TYPE_CHECKING:
    from convwright.display.figures import Figure


@dataclass(frozen=True)
class AblationResult(FigureResult):
    """What an ablation found."""

    ablation: Ablation
    experiment: Experiment
    results: Mapping[Task, Outcome]
    path: Path
    """File that holds the result as JSON, in the folder of the ablation."""

    @property
    def title(self) -> str:
        """Heading of the page."""
        network, data = self.ablation.variants[0].network.name, Path(self.experiment.data).name
        return f"Which ideas improve accuracy: {network} on {data}"

    @property
    def summary(self) -> str:
        """Which ideas change the accuracy significantly, in a sentence."""
        titles = {"helps": "significantly better", "hurts": "significantly worse"}
        by_verdict = {name: [e.idea.name for e in self.effects if e.verdict == name] for name in titles}
        parts = [f"{titles[verdict]}: {'; '.join(names)}" for verdict, names in by_verdict.items() if names]
        verdicts = "; ".join(parts) or "all compared networks are statistically indistinguishable"
        runs = counted(len(self.results), "training run")
        return f"{verdicts[0].upper()}{verdicts[1:]} ({runs} of {self.experiment.schedule.epochs:g} epochs)."

    @property
    def split(self) -> str:
        """The images that accuracies are measured on."""
        return "test" if self.experiment.tested else "validation"

    def accuracies(self, name: str) -> dict[int, float]:
        """Return the accuracies of a variant by seed."""
        by_seed = {}
        for task, outcome in self.results.items():
            if self.experiment.candidates[task.candidate].name == name:
                tested = outcome.test_accuracy
                by_seed[task.seed] = outcome.accuracy if tested is None else tested
        return by_seed

    @property
    def effects(self) -> tuple[Effect, ...]:
        """The effect of each idea, with simultaneous intervals (Bonferroni's correction)."""
        networks = {each.name: each.network for each in self.ablation.variants}
        effects = []
        for idea in self.ablation.ideas:
            with_it, without = (cost(networks[name]) for name in (idea.with_it, idea.without))
            accuracies = self.accuracies(idea.with_it), self.accuracies(idea.without)
            found = difference(*accuracies, comparisons=len(self.ablation.ideas))
            effects.append(Effect(idea, found, with_it.macs / without.macs, with_it.params / without.params))
        return tuple(effects)

    def to_dict(self) -> dict[str, object]:
        """Return every variant with its accuracies, and every effect."""
        return {
            "schema_version": 1,
            "data": self.experiment.data,
            "split": self.split,
            "epochs": self.experiment.schedule.epochs,
            "seeds": self.experiment.schedule.seeds,
            "recipe": self.experiment.recipe,
            "variants": [
                {
                    "name": each.name,
                    "network": each.network.name,
                    "resolution": each.network.resolution,
                    "params": cost(each.network).params,
                    "macs": cost(each.network).macs,
                    "accuracies": {str(seed): value for seed, value in sorted(self.accuracies(each.name).items())},
                }
                for each in self.ablation.variants
            ],
            "effects": [each.to_dict() for each in self.effects],
            "left_out": list(self.ablation.left_out),
            "summary": self.summary,
        }

    def table(self) -> Table:
        """Return a table of the variants."""
        titles = ("variant", "resolution (px)", "parameters", "MACs", f"{self.split} accuracy (95 % interval)")
        rows = []
        for each in self.ablation.variants:
            mean, count = mean_of_seeds([*self.accuracies(each.name).values()]), cost(each.network)
            margin = "" if mean.margin is None else f" ± {100 * mean.margin:.2f}"
            size = format_resolution(each.network.resolution)
            rows.append((each.name, size, human(count.params), human(count.macs), f"{mean.value:.2%}{margin}"))
        return Table(titles, rows)

    def blocks(self) -> Iterable[Block]:
        """Yield the variants, and a sentence on each idea."""
        yield self.table()
        yield Heading("Ideas")
        for effect in self.effects:
            yield Paragraph(effect.sentence)
        comparisons, seeds = counted(len(self.effects), "comparison"), counted(self.experiment.schedule.seeds, "seed")
        yield Paragraph(
            f"Intervals are simultaneous 95 % intervals for {comparisons} (Student's t, Bonferroni), paired by {seeds}."
        )
        for line in self.ablation.left_out:
            yield Paragraph(f"not compared: {line}")
        yield Lines(f"results: {printable(self.path)}")

    def figures(self) -> "Sequence[Figure]":
        """Return the effects with their intervals."""
        from convwright.designing.ablation_figure import effects_figure

        return [effects_figure(self.effects, self.split)]
