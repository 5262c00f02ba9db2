"""What an idea changes: the difference of accuracies with and without it."""

from dataclasses import dataclass

from convwright.designing.ablation import Idea
from convwright.display.wording import counted
from convwright.stats.means import Mean


@dataclass(frozen=True)
class Effect:
    """What an idea changes."""

    idea: Idea
    difference: Mean
    """Mean paired difference of the accuracies with and without the idea; intervals are simultaneous."""
    macs: float
    """Multiply-adds of the network with the idea, over those without."""
    params: float
    """Parameters of the network with the idea, over those without."""

    @property
    def verdict(self) -> str:
        """`helps`, `hurts`, or `undecided` where the interval contains 0 or there is none."""
        if self.difference.margin is None or abs(self.difference.value) <= self.difference.margin:
            return "undecided"
        return "helps" if self.difference.value > 0 else "hurts"

    @property
    def sentence(self) -> str:
        """The effect as a sentence."""
        points = f"{100 * self.difference.value:+.2f} percentage points"
        spread = "" if self.difference.margin is None else f" ± {100 * self.difference.margin:.2f}"
        seeds = counted(self.difference.count, "seed")
        costs = f"{_more(self.macs, 'MACs')} and {_more(self.params, 'parameters')}"
        verdict = {
            "helps": "significantly better",
            "hurts": "significantly worse",
            "undecided": "statistically indistinguishable",
        }[self.verdict]
        pair = f"{self.idea.with_it} compared with {self.idea.without}"
        return f"{self.idea.name}: {verdict}: {points}{spread} over {seeds} ({pair}), with {costs}."

    def to_dict(self) -> dict[str, object]:
        """Return idea, difference, interval and verdict."""
        return {
            "idea": self.idea.name,
            "paper": self.idea.paper,
            "with": self.idea.with_it,
            "without": self.idea.without,
            "equal": self.idea.equal,
            "difference": self.difference.value,
            "margin": self.difference.margin,
            "seeds": self.difference.count,
            "macs_ratio": self.macs,
            "params_ratio": self.params,
            "verdict": self.verdict,
            "sentence": self.sentence,
        }


def _more(ratio: float, noun: str) -> str:
    percent = 100 * (ratio - 1)
    if abs(percent) < 0.05:
        return f"equal {noun}"
    return f"{abs(percent):.1f} % {'more' if percent > 0 else 'fewer'} {noun}"
