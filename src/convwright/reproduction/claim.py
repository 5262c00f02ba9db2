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
    """What became of a claim."""

    EQUAL = "equal"
    """Rounded to the printed digits, the computed figure is the printed one."""
    EXPLAINED = "explained"
    """It is another one, for a reason that is given and within the bounds that the reason allows."""
    ELSEWHERE = "not computable here"
    """It takes training on data that is not at hand; the reason says what of it can be done."""
    OPEN = "not explained"
    """It is another one, by no more than is told, and why is not known."""
    WRONG = "wrong"
    """It is another one, and nothing here says so: a mistake of ours."""


@dataclass(frozen=True)
class Difference:
    """Why a computed figure is not the printed one.

    With `instead`, another way to count, the explanation holds if that gives the printed digits; without, if the
    computed figure lies within a share `within` of the printed one. known False: the text tells what has been looked
    at, and the reason remains to be found.
    """

    why: str
    instead: Callable[[], float] | None = None
    within: float = 0.0
    known: bool = True


@dataclass(frozen=True)
class Claim:
    """A figure that a paper prints, as printed ("7.0"), with its unit and how to compute it in that unit.

    compute None: not to be had without training; `difference` then says why.
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
    """What should be known of an equal figure too."""

    @property
    def decimals(self) -> int:
        """How many digits are printed after the point."""
        return len(self.printed.partition(".")[2])


@dataclass(frozen=True)
class Outcome:
    """A claim, judged. `computed` and `instead` are written with the digits that make the comparison."""

    claim: Claim
    verdict: Verdict
    computed: str = ""
    value: float | None = None
    """The computed figure, unrounded."""
    instead: str = ""
    """What the other way to count gives, where the explanation is one."""

    @property
    def why(self) -> str:
        """The explanation, where one is needed, or what else should be known."""
        if self.verdict in (Verdict.EQUAL, Verdict.WRONG) or self.claim.difference is None:
            return self.claim.note
        return self.claim.difference.why


class Chapter(NamedTuple):
    """One paper's claims."""

    key: str
    title: str
    claims: tuple[Claim, ...]


def judge(claim: Claim) -> Outcome:
    """Compute a claim and compare."""
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
    """Parameters in millions."""
    return lambda: costs(expression).params / 1e6


def macs(expression: str) -> Callable[[], float]:
    """Multiply-adds for one image in thousands of millions."""
    return lambda: costs(expression).macs / 1e9


def increase(expression: str, base: str, what: str) -> Callable[[], float]:
    """How much more of `what` one network takes than another, in percent."""
    return lambda: 100 * (getattr(costs(expression), what) / getattr(costs(base), what) - 1)


def tally(outcomes: Iterable[Outcome]) -> dict[Verdict, int]:
    """Count outcomes by verdict, those that occur."""
    counts = Counter(outcome.verdict for outcome in outcomes)
    return {verdict: counts[verdict] for verdict in Verdict if counts[verdict]}
