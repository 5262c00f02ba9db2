"""Claims of the papers, and how they are judged: the printed digits beside what our own networks give."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import NamedTuple

from convwright.arch import Cost, Network
from convwright.arch.cost import cost
from convwright.arch.expression import network


class Verdict(StrEnum):
    """Verdict on a claim."""

    EQUAL = "equal"
    """Rounded to the printed digits, the computed figure is the printed one."""
    EXPLAINED = "explained"
    """The figures differ, for a reason that is given and by no more than the reason allows."""
    ELSEWHERE = "not computable here"
    """The figure needs training on data that is not available; the reason says which part can be done."""
    OPEN = "not explained"
    """The figures differ by no more than the stated share, and the reason is not known."""
    WRONG = "wrong"
    """The figures differ, and nothing here explains it: an error of ours."""


@dataclass(frozen=True)
class Difference:
    """Reason why a computed figure differs from the printed one.

    With `instead`, another way to count, the explanation holds if that gives the printed digits; without it, if the
    computed figure lies within a share `within` of the printed one. `known` is False where the text lists what has been
    examined and the reason has not been found.
    """

    why: str
    instead: Callable[[], float] | None = None
    within: float = 0.0
    known: bool = True


@dataclass(frozen=True)
class Claim:
    """A figure that a paper prints, as printed ("7.0"), with its unit and the function that computes it in that unit.

    `compute` is None for figures that need training; `difference` then says why.
    """

    place: str
    """Table, figure or section."""
    subject: str
    quantity: str
    printed: str
    unit: str
    compute: Callable[[], float] | None
    difference: Difference | None = None
    note: str = ""
    """Remark on an equal figure."""

    @property
    def decimals(self) -> int:
        """Number of printed digits after the point."""
        return len(self.printed.partition(".")[2])


@dataclass(frozen=True)
class Outcome:
    """A judged claim. `computed` and `instead` have as many digits as the printed figure."""

    claim: Claim
    verdict: Verdict
    computed: str = ""
    value: float | None = None
    """The computed figure, unrounded."""
    instead: str = ""
    """Figure of the other way to count, where the explanation has one."""

    @property
    def why(self) -> str:
        """The explanation of a difference, or the remark on the figure."""
        if self.verdict in (Verdict.EQUAL, Verdict.WRONG) or self.claim.difference is None:
            return self.claim.note
        return self.claim.difference.why


class PaperClaims(NamedTuple):
    """One paper's claims."""

    key: str
    title: str
    claims: tuple[Claim, ...]


def judge(claim: Claim) -> Outcome:
    """Compute the figure of a claim and compare it with the printed one."""
    if claim.compute is None:
        return Outcome(claim, Verdict.ELSEWHERE)
    value = claim.compute()
    shown = f"{value:.{claim.decimals}f}"
    if shown == claim.printed:
        return Outcome(claim, Verdict.EQUAL, shown, value)
    difference = claim.difference
    if difference is None:
        return Outcome(claim, Verdict.WRONG, shown, value)
    if difference.instead is not None:
        instead = f"{difference.instead():.{claim.decimals}f}"
        verdict = Verdict.EXPLAINED if instead == claim.printed else Verdict.WRONG
        return Outcome(claim, verdict, shown, value, instead)
    if abs(value / float(claim.printed) - 1) > difference.within:
        return Outcome(claim, Verdict.WRONG, shown, value)
    return Outcome(claim, Verdict.EXPLAINED if difference.known else Verdict.OPEN, shown, value)


@cache
def costs(expression: str) -> Cost:
    """Return the cost of a network at its native resolution."""
    return cost(read(expression))


@cache
def read(expression: str) -> Network:
    """Return the network of an expression."""
    return network(expression)


def params(expression: str) -> Callable[[], float]:
    """Return a function that gives the parameters in millions."""
    return lambda: costs(expression).params / 1e6


def macs(expression: str) -> Callable[[], float]:
    """Return a function that gives the multiply-adds for one image in thousands of millions."""
    return lambda: costs(expression).macs / 1e9


def increase(expression: str, base: str, what: str) -> Callable[[], float]:
    """Return a function that gives the increase from one network to another, in percent.

    Args:
        expression: The larger network.
        base: The network that it is compared with.
        what: `params` or `macs`.
    """
    return lambda: 100 * (getattr(costs(expression), what) / getattr(costs(base), what) - 1)


def tally(outcomes: Iterable[Outcome]) -> dict[Verdict, int]:
    """Count outcomes by verdict, those that occur."""
    counts = Counter(outcome.verdict for outcome in outcomes)
    return {verdict: counts[verdict] for verdict in Verdict if counts[verdict]}
