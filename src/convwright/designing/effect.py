"""What an idea changes: the difference of accuracies with and without it."""

from dataclasses import dataclass

from convwright.designing.ablation import Idea
from convwright.display.wording import counted
from convwright.stats.means import Mean


@dataclass(frozen=True)
class Effect:
    """What an idea changes."""

    idea: Idea
    lead: Mean
    """Mean paired difference of the accuracies, with its interval for all comparisons together."""
    macs: float
    """Multiply-adds of the network with the idea, over those without."""
    params: float
    """Parameters of the network with the idea, over those without."""

    @property
    def verdict(self) -> str:
        """`helps`, `hurts`, or `undecided` where the interval contains 0 or there is none."""
        if self.lead.half is None or abs(self.lead.value) <= self.lead.half:
            return "undecided"
        return "helps" if self.lead.value > 0 else "hurts"

    @property
    def sentence(self) -> str:
        """The effect as a sentence."""
        points = f"{100 * self.lead.value:+.2f} percentage points"
        spread = "" if self.lead.half is None else f" ± {100 * self.lead.half:.2f}"
        seeds = counted(self.lead.count, "seed")
        costs = f"{_more(self.macs, 'multiply-adds')} and {_more(self.params, 'parameters')}"
        verdict = {
            "helps": "improves the accuracy on this data",
            "hurts": "lowers the accuracy on this data",
            "undecided": f"no difference that {seeds} can show",
        }[self.verdict]
        pair = f"{self.idea.with_it} compared with {self.idea.without}"
        return f"{self.idea.name}: {verdict}: {points}{spread} ({pair}), with {costs}."

    def to_dict(self) -> dict[str, object]:
        """Return idea, difference, interval and verdict."""
        return {
            "idea": self.idea.name,
            "paper": self.idea.paper,
            "with": self.idea.with_it,
            "without": self.idea.without,
            "equal": self.idea.equal,
            "difference": self.lead.value,
            "half": self.lead.half,
            "seeds": self.lead.count,
            "macs_ratio": self.macs,
            "params_ratio": self.params,
            "verdict": self.verdict,
            "sentence": self.sentence,
        }


def _more(ratio: float, noun: str) -> str:
    percent = 100 * (ratio - 1)
    if abs(percent) < 0.05:
        return f"as many {noun}"
    return f"{abs(percent):.1f} % {'more' if percent > 0 else 'fewer'} {noun}"
