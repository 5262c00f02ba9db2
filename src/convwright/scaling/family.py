"""Step 2: alpha, beta and gamma fixed, a family over phi; and networks of the same multiply-adds that grow in one
dimension alone (EfficientNet, figures 3 and 8)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import log2

from convwright.arch import Network
from convwright.arch.cost import cost
from convwright.errors import NetworkError, UsageError
from convwright.scaling.experiment import Candidate
from convwright.scaling.rules import RULES, Compound, Factors, Rule, Shares

SINGLE = tuple(rule for rule in RULES if isinstance(rule, Shares) and max(rule.depth, rule.width, rule.resolution) == 1)
"""Depth, width and resolution alone."""
FINEST = 2.0**-5
"""Doublings between the amounts that are tried around a wanted one."""
REACH = 1.0
"""Doublings around it in which they lie."""
CLOSE = 0.25
"""A single-dimension network further from the wanted multiply-adds than this share is left out: no comparison."""


@dataclass(frozen=True)
class Member:
    """A network of a family."""

    rule: str
    step: int
    """Which point of the curves: phi for the compound family, and the one it is to be compared with for others."""
    factors: Factors
    network: Network
    macs: int

    @property
    def candidate(self) -> Candidate:
        """The member as a study trains it."""
        place = {"phi": float(self.step)} | self.factors._asdict()
        return Candidate(f"{self.rule}, {self.step}", self.network, place, self.macs, self.rule)


def compound_family(base: Network, rule: Compound, most: int) -> list[Member]:
    """Return the networks of phi = 0 to `most`. NetworkError where one cannot be built."""
    if not 0 <= most <= 16:
        raise UsageError(f"phi goes from 0 to at most 16, not to {most}")
    return [_member("compound", phi, base, rule.at(phi)) for phi in range(most + 1)]


def distinct(members: Sequence[Member]) -> tuple[list[Member], list[str]]:
    """Return the members without those that rounding makes the same as a smaller one, and a line for each of these."""
    first: dict[Network, int] = {}
    kept = [member for member in members if first.setdefault(member.network, member.step) == member.step]
    dropped = [
        f"compound at phi = {member.step} is the same network as at phi = {first[member.network]}"
        for member in members
        if member not in kept
    ]
    return kept, dropped


def single_families(
    base: Network, members: Sequence[Member], rules: Sequence[Rule] = SINGLE
) -> tuple[list[Member], list[str]]:
    """Return, for each member but the base, the networks of each rule that are nearest to its multiply-adds.

    Also returns a line for each point that rounding puts out of reach, or for which another network stands already.
    """
    found: list[Member] = []
    missing: list[str] = []
    for rule in rules:
        seen = {base: "a smaller one"} | {member.network: "a compound one" for member in members if member.step}
        for member in members:
            if member.step == 0:
                continue
            nearest = min(_around(base, rule, member), key=lambda one: _miss(one, member), default=None)
            if nearest is None or _miss(nearest, member) > CLOSE:
                missing.append(f"{rule.told} has no network near {member.macs:,} multiply-adds (phi = {member.step})")
            elif nearest.network in seen:
                missing.append(f"{rule.told} at phi = {member.step} is the same network as {seen[nearest.network]}")
            else:
                found.append(nearest)
                seen[nearest.network] = "a smaller one"
    return found, missing


def _around(base: Network, rule: Rule, member: Member) -> Iterator[Member]:
    """The networks of a rule whose multiply-adds are near a member's, the nearest before rounding first."""
    wanted = log2(member.macs / cost(base).macs)
    seen: set[Network] = set()
    steps = round(REACH / FINEST)
    for index in sorted(range(-steps, steps + 1), key=abs):
        amount = wanted + index * FINEST
        if amount <= 0:
            continue
        try:
            one = _member(rule.told, member.step, base, rule.factors(amount))
        except NetworkError:
            continue
        if one.network not in seen:
            seen.add(one.network)
            yield one


def _member(rule: str, step: int, base: Network, factors: Factors) -> Member:
    factors = Factors(*(round(factor, 4) for factor in factors))
    network = factors.apply(base) if factors != (1, 1, 1) else base
    return Member(rule, step, factors, network, cost(network).macs)


def _miss(member: Member, wanted: Member) -> float:
    return abs(member.macs / wanted.macs - 1)
