"""Families of networks: alpha, beta and gamma fixed, and phi = 0, 1, 2, ...

Beside the compound family stand networks of the same multiply-adds that are scaled in one dimension alone
(EfficientNet, figures 3 and 8).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import log2

from convwright.arch import Network
from convwright.arch.cost import cost
from convwright.errors import ArgumentError, NetworkError
from convwright.scaling.experiment import StudyCandidate
from convwright.scaling.rules import RULES, Compound, Factors, Rule, Shares

SINGLE = tuple(rule for rule in RULES if isinstance(rule, Shares) and max(rule.depth, rule.width, rule.resolution) == 1)
"""Depth, width and resolution alone."""
LARGEST_PHI = 16
FINEST = 2.0**-5
"""Doublings between the amounts that are tried around a target."""
REACH = 1.0
"""Doublings around the target within which amounts are tried."""
CLOSE = 0.25
"""Largest relative deviation of the multiply-adds at which a single-dimension network is still comparable."""


@dataclass(frozen=True)
class Member:
    """A network of a family."""

    rule: str
    phi: int
    """Compound coefficient of the member, or of the compound member that it is compared with."""
    factors: Factors
    network: Network
    macs: int

    @property
    def candidate(self) -> StudyCandidate:
        """The member as a candidate of a study."""
        coordinates = {"phi": float(self.phi)} | self.factors._asdict()
        return StudyCandidate(f"{self.rule}, {self.phi}", self.network, coordinates, self.macs, self.rule)

    def to_dict(self) -> dict[str, object]:
        """Return rule, phi, network, cost and factors."""
        return {
            "rule": self.rule,
            "phi": self.phi,
            "network": self.network.name,
            "macs": self.macs,
            "params": cost(self.network).params,
            "factors": self.factors._asdict(),
            "resolution": self.network.resolution,
        }


def compound_family(base: Network, rule: Compound, phi: int | Iterable[int]) -> list[Member]:
    """Return the networks of some compound coefficients.

    Args:
        base: The network to scale, which is the member of phi = 0.
        rule: Compound scaling with its coefficients.
        phi: Largest compound coefficient, or all of them; phi = 0 is always included.

    Raises:
        ArgumentError: A compound coefficient is below 0 or above 16.
        NetworkError: A network cannot be built.
    """
    values = [*range(min(phi, LARGEST_PHI)), phi] if isinstance(phi, int) else [*phi]
    if not values:
        raise ArgumentError("phi", "must be one compound coefficient or more")
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= LARGEST_PHI:
            raise ArgumentError("phi", f"must be whole numbers from 0 to {LARGEST_PHI}, not {value!r:.40}")
    return [_member("compound", value, base, rule.at(value)) for value in sorted({0, *values})]


def distinct(members: Sequence[Member]) -> tuple[list[Member], list[str]]:
    """Return the members without those that rounding makes equal to a smaller one, and a line for each of these."""
    first: dict[Network, int] = {}
    kept = [member for member in members if first.setdefault(member.network, member.phi) == member.phi]
    dropped = [
        f"compound at phi = {member.phi} is the same network as at phi = {first[member.network]}"
        for member in members
        if member not in kept
    ]
    return kept, dropped


def single_families(
    base: Network, members: Sequence[Member], rules: Sequence[Rule] = SINGLE
) -> tuple[list[Member], list[str]]:
    """Return networks that are scaled in one dimension alone.

    Args:
        base: The network to scale.
        members: The compound family.
        rules: Rules of the other families.

    Returns:
        For each member but the base, the network of each rule that is nearest to its multiply-adds; and a line for
        each combination without such a network, or with a network that is in the families already.
    """
    found: list[Member] = []
    missing: list[str] = []
    for rule in rules:
        seen = {base: "a smaller one"} | {member.network: "a compound one" for member in members if member.phi}
        for member in members:
            if member.phi == 0:
                continue
            nearest = min(_near(base, rule, member), key=lambda each: _deviation(each, member), default=None)
            if nearest is None or _deviation(nearest, member) > CLOSE:
                missing.append(f"{rule.name} has no network near {member.macs:,} multiply-adds (phi = {member.phi})")
            elif nearest.network in seen:
                missing.append(f"{rule.name} at phi = {member.phi} is the same network as {seen[nearest.network]}")
            else:
                found.append(nearest)
                seen[nearest.network] = "a smaller one"
    return found, missing


def _near(base: Network, rule: Rule, member: Member) -> Iterator[Member]:
    """Yield the networks of a rule whose multiply-adds are near a member's; the nearest before rounding first."""
    target = log2(member.macs / cost(base).macs)
    seen: set[Network] = set()
    steps = round(REACH / FINEST)
    for index in sorted(range(-steps, steps + 1), key=abs):
        amount = target + index * FINEST
        if amount <= 0:
            continue
        try:
            scaled = _member(rule.name, member.phi, base, rule.factors(amount))
        except NetworkError:
            continue
        if scaled.network not in seen:
            seen.add(scaled.network)
            yield scaled


def _member(rule: str, phi: int, base: Network, factors: Factors) -> Member:
    factors = Factors(*(round(factor, 4) for factor in factors))
    network = factors.apply(base) if factors != (1, 1, 1) else base
    return Member(rule, phi, factors, network, cost(network).macs)


def _deviation(member: Member, target: Member) -> float:
    return abs(member.macs / target.macs - 1)
