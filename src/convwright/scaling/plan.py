"""A base network and a budget in; the largest network that keeps it out, and how it came about."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

from convwright.arch import Cost, Network
from convwright.arch.cost import cost
from convwright.errors import NetworkError, UsageError
from convwright.scaling.budget import LATENCY, Budget, used, written
from convwright.scaling.rules import RULES, Compound, Factors, Rule

SMALLEST, LARGEST = -16.0, 16.0
"""Doublings between which a solution is sought."""
PRECISION = 2.0**-7
"""Doublings to which it is found; rounding makes steps that are larger."""
WITHIN = 0.1
"""Share by which a network may miss what was asked before rounding is held to account."""

Measure = Callable[[Network], float]
"""Seconds that a network takes."""


@dataclass(frozen=True)
class Plan:
    """A base network, scaled: what was asked, and what rounding made of it."""

    base: Network
    network: Network
    rule: str
    asked: Factors
    phi: float | None = None
    seconds: float | None = None
    """Measured latency, where it was asked for."""
    binding: tuple[str, ...] = ()
    """The resources of which a slightly larger network would take too much."""

    @cached_property
    def cost(self) -> Cost:
        """What the network costs."""
        return cost(self.network)

    @cached_property
    def base_cost(self) -> Cost:
        """What the base costs."""
        return cost(self.base)

    @property
    def actual(self) -> Factors:
        """The factors after rounding: blocks, widths of stages in the mean, and resolution, over the base's."""
        depth = _depth(self.network) / _depth(self.base)
        ratios = [mine / before for mine, before in zip(_widths(self.network), _widths(self.base), strict=True)]
        width = sum(ratios) / len(ratios) if ratios else 1.0
        return Factors(depth, width, self.network.resolution / self.base.resolution)

    @property
    def work(self) -> float:
        """What the multiply-adds are multiplied by, after rounding."""
        return self.cost.macs / self.base_cost.macs

    def used(self, resource: str) -> float | None:
        """Return what the network takes of a resource; None for a latency that was not measured."""
        return self.seconds if resource == LATENCY else used(self.cost, resource)

    @property
    def told(self) -> str:
        """Why the multiply-adds are not what was asked, or 2^phi; empty where they are, within 10 %."""
        return "; ".join(filter(None, (self._rounding, self._formula)))

    @property
    def _formula(self) -> str:
        """Why they are not 2^phi, as far as the coefficients are why."""
        asked, phi = self.asked.work, self.phi
        if phi is None or abs(self.work / 2**phi - 1) <= WITHIN or abs(asked / 2**phi - 1) < 0.01:
            return ""
        return (
            f"alpha * beta^2 * gamma^2 is {asked ** (1 / phi):.2f} and not 2, so that phi = {phi:.3g} asks for "
            f"{asked:.2f} times and not for {2**phi:.2f}"
        )

    @property
    def _rounding(self) -> str:
        asked, work = self.asked.work, self.work
        if abs(work / asked - 1) <= WITHIN:
            return ""
        parts = zip(("depth", "width", "resolution"), self.asked, self.actual, strict=True)
        moved = [f"{name} {have / want - 1:+.0%}" for name, want, have in parts if abs(have / want - 1) > 0.01]
        return (
            f"multiply-adds are {work:.2f} times the base's where {asked:.2f} were asked: rounding changed "
            + (", ".join(moved) if moved else "each dimension by under 1 %")
            + " (repetitions go up to whole blocks in each stage, widths to multiples of 8, "
            "a growth rate of 12 to multiples of 4)"
        )


def plan_factors(base: Network, factors: Factors, rule: str = "factors", phi: float | None = None) -> Plan:
    """Scale by given factors. Raises NetworkError where the network cannot be built."""
    return Plan(base, factors.apply(base), rule, factors, phi)


def plan_budget(base: Network, budget: Budget, rule: Rule = Compound(), measure: Measure | None = None) -> Plan:
    """Return the largest network of a rule that keeps every limit.

    measure: gives a network's latency, where the budget limits it. Raises UsageError, with what the smallest
    network of the rule needs, if no network keeps the limits, and if the rule grows without meeting any.
    """
    if budget.latency is not None and measure is None:
        raise UsageError("budget: a latency is measured; say how")
    seen: dict[Network, float] = {}

    def seconds(network: Network) -> float:
        if network not in seen:
            seen[network] = measure(network) if measure else 0.0
        return seen[network]

    def broken(amount: float) -> list[str]:
        network = _scaled(base, rule, amount)
        if isinstance(network, str):
            return [network]
        over = budget.broken_by(cost(network))
        if not over and budget.latency is not None and seconds(network) > budget.latency:
            over.append(LATENCY)
        return over

    low = _feasible(base, budget, rule, broken, seconds)
    high, over = low, list[str]()
    while high < LARGEST and not over:
        low, high = high, high + 1.0
        over = broken(high)
    while over and high - low > PRECISION:
        middle = (low + high) / 2
        if now := broken(middle):
            high, over = middle, now
        else:
            low = middle
    binding = tuple(name for name in over if name in budget.limits)
    if not binding:  # it grows until it cannot be built
        unlimited = f"{base.name} scaled by {rule.told}"
        raise UsageError(f"budget: {budget} sets no limit to {unlimited}; limit macs or memory too")
    asked = tidied(base, rule.factors(low))
    network = asked.apply(base)
    phi = rule.phi(low) if isinstance(rule, Compound) else None
    measured = seconds(network) if budget.latency is not None else None
    return Plan(base, network, rule.told, asked, phi, measured, binding)


def tidied(base: Network, factors: Factors) -> Factors:
    """Return the factors with as few digits as give the same network."""
    network = factors.apply(base)
    for digits in range(2, 6):
        rounded = Factors(*(round(factor, digits) for factor in factors))
        if rounded.apply(base) == network:
            return rounded
    return factors


def alternatives(base: Network, budget: Budget, chosen: Plan, measure: Measure | None = None) -> Iterator[Plan]:
    """Spend the same budget on depth, width and resolution alone, and by the other published rule."""
    for rule in RULES:
        if rule.told != chosen.rule:
            try:
                yield plan_budget(base, budget, rule, measure)
            except UsageError:  # this way the base meets no limit, or cannot become small enough
                continue


def _scaled(base: Network, rule: Rule, amount: float) -> Network | str:
    """The network of an amount, or why there is none."""
    try:
        return rule.factors(amount).apply(base)
    except NetworkError as error:
        return str(error)


def _feasible(
    base: Network, budget: Budget, rule: Rule, broken: Callable[[float], list[str]], seconds: Measure
) -> float:
    """Return an amount, in whole doublings, at which every limit is kept, 0 if the base itself does."""
    amount, smallest = 0.0, base
    while broken(amount):
        smaller = _scaled(base, rule, amount)
        if isinstance(smaller, str) or amount <= SMALLEST:
            raise UsageError(_impossible(base, budget, smallest, rule, seconds))
        smallest = smaller
        amount -= 1.0
    return amount


def _impossible(base: Network, budget: Budget, smallest: Network, rule: Rule, seconds: Measure) -> str:
    taken = cost(smallest)
    needed = {name: used(taken, name) for name in budget.broken_by(taken)}
    if budget.latency is not None and (least := seconds(smallest)) > budget.latency:
        needed[LATENCY] = least
    needs = " and ".join(f"{written(name, amount)} of {name}" for name, amount in needed.items())
    return (
        f"budget: {budget} is too small for {base.name} scaled by {rule.told}: the smallest network, at "
        f"{smallest.resolution} px, needs {needs}; take a smaller base"
    )


def _depth(network: Network) -> int:
    return sum(stage.repeats for stage in network.stages if stage.block.repeatable)


def _widths(network: Network) -> list[float]:
    """What the stages' blocks say of widths: channels, or a growth rate."""
    blocks = [stage.block for stage in network.stages]
    return [float(getattr(block, name)) for block in blocks for name in block.widths]
