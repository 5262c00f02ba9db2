"""Plans: the largest network that keeps a budget, scaled from a base network by a rule."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from convwright.arch import Cost, Network
from convwright.arch.cost import cost
from convwright.arch.resolution import format_resolution, side_ratio
from convwright.brief import Brief
from convwright.errors import ArgumentError, NetworkError, UsageError
from convwright.scaling.budget import LATENCY, Budget, format_amount, used
from convwright.scaling.rules import RULES, Compound, Factors, Rule

SMALLEST, LARGEST = -16.0, 16.0
"""Doublings between which a solution is searched."""
PRECISION = 2.0**-7
"""Doublings to which a solution is found; rounding makes larger steps."""
WITHIN = 0.1
"""Largest relative deviation of the multiply-adds from the request that needs no explanation."""

SMALLER_BASE = "use a smaller base"
"""Advice at the end of the message that no network of a rule keeps a budget."""

Measure = Callable[[Network], float]
"""Returns the latency of a network in seconds."""


@dataclass(frozen=True)
class ScaledNetwork(Brief):
    """A base network scaled by a rule: the factors that were requested, and those after rounding."""

    base: Network
    network: Network
    rule: str
    requested: Factors
    phi: float | None = None
    seconds: float | None = None
    """Measured latency; None where it was not measured."""
    binding: tuple[str, ...] = ()
    """Resources whose limit the next larger network exceeds."""
    larger: Mapping[str, float] = field(default_factory=dict, hash=False)
    """What the next larger network uses of the limited resources; without a latency that was not measured."""

    @cached_property
    def cost(self) -> Cost:
        """Cost of the network."""
        return cost(self.network)

    @cached_property
    def base_cost(self) -> Cost:
        """Cost of the base network."""
        return cost(self.base)

    @property
    def actual(self) -> Factors:
        """The factors after rounding: blocks, mean width of stages, and resolution, each over the base's."""
        depth = _depth(self.network) / _depth(self.base)
        ratios = [mine / before for mine, before in zip(_widths(self.network), _widths(self.base), strict=True)]
        width = sum(ratios) / len(ratios) if ratios else 1.0
        return Factors(depth, width, side_ratio(self.network.resolution, self.base.resolution))

    @property
    def work(self) -> float:
        """Factor of the multiply-adds, after rounding."""
        return self.cost.macs / self.base_cost.macs

    def used(self, resource: str) -> float | None:
        """Return how much of a resource the network uses; None for a latency that was not measured."""
        return self.seconds if resource == LATENCY else used(self.cost, resource)

    @property
    def deviation(self) -> str:
        """Why the multiply-adds deviate from the request, or from 2^phi; empty where they are within 10 %."""
        return "; ".join(filter(None, (self._rounding, self._formula)))

    @property
    def _formula(self) -> str:
        """Why the multiply-adds are not 2^phi times as many, where the coefficients cause it."""
        requested, phi = self.requested.work, self.phi
        if phi is None or abs(self.work / 2**phi - 1) <= WITHIN or abs(requested / 2**phi - 1) < 0.01:
            return ""
        return (
            f"alpha * beta^2 * gamma^2 is {requested ** (1 / phi):.2f} and not 2, so phi = {phi:.3g} requests "
            f"{requested:.2f} times the multiply-adds and not {2**phi:.2f}"
        )

    @property
    def _rounding(self) -> str:
        requested, work = self.requested.work, self.work
        if abs(work / requested - 1) <= WITHIN:
            return ""
        parts = zip(("depth", "width", "resolution"), self.requested, self.actual, strict=True)
        moved = [f"{name} {have / want - 1:+.0%}" for name, want, have in parts if abs(have / want - 1) > 0.01]
        return (
            f"multiply-adds are {work:.2f} times the base's where {requested:.2f} were requested: rounding changed "
            + (", ".join(moved) if moved else "each dimension by under 1 %")
            + " (repetitions are rounded up to whole blocks in each stage, widths to multiples of 8, "
            "a growth rate of 12 to multiples of 4)"
        )

    def to_dict(self) -> dict[str, object]:
        """Return network, rule, factors, cost and binding resources."""
        requested = self.requested._asdict() | {"macs": self.requested.work}
        return {
            "network": self.network.name,
            "rule": self.rule,
            "phi": self.phi,
            "requested": requested,
            "asked": requested,  # the key's name in version 0.1
            "actual": self.actual._asdict() | {"macs": self.work},
            "resolution": self.network.resolution,
            "params": self.cost.params,
            "macs": self.cost.macs,
            "activations": self.cost.activations,
            "memory_bytes": self.cost.memory_bytes(),
            "latency_seconds": self.seconds,
            "binding": list(self.binding),
            "next": dict(self.larger),
            "rounding": self.deviation or None,
        }


def scale_by_factors(base: Network, factors: Factors, rule: str = "factors", phi: float | None = None) -> ScaledNetwork:
    """Scale a network by factors of depth, width and resolution.

    Raises:
        NetworkError: The network cannot be built.
    """
    return ScaledNetwork(base, factors.apply(base), rule, factors, phi)


def scale_to_budget(
    base: Network, budget: Budget, rule: Rule = Compound(), measure: Measure | None = None
) -> ScaledNetwork:
    """Return the largest network of a rule that keeps every limit.

    Args:
        base: The network to scale.
        budget: The limits.
        rule: How the network is scaled.
        measure: Returns the latency of a network, where the budget limits it.

    Raises:
        ArgumentError: No network of the rule keeps the limits, and the message has what the smallest one needs; or
            no limit binds.
    """
    if budget.latency is not None and measure is None:
        raise ArgumentError("budget", "a limit on latency needs a function that measures it")
    seen: dict[Network, float] = {}

    def seconds(network: Network) -> float:
        if network not in seen:
            seen[network] = measure(network) if measure else 0.0
        return seen[network]

    def exceeded(amount: float) -> list[str]:
        network = _scaled(base, rule, amount)
        if isinstance(network, str):
            return [network]
        over = budget.exceeded_by(cost(network))
        if not over and budget.latency is not None and seconds(network) > budget.latency:
            over.append(LATENCY)
        return over

    low = _feasible(base, budget, rule, exceeded, seconds)
    low, high = _bisected(low, exceeded)
    binding = tuple(name for name in exceeded(high) if name in budget.limits)
    if not binding:  # the network grows until it cannot be built
        unlimited = f"{base.name} scaled by {rule.name}"
        raise ArgumentError("budget", f"{budget} does not limit the size of {unlimited}; limit macs or memory too")
    requested = simplified(base, rule.factors(low))
    network, bigger = requested.apply(base), rule.factors(high).apply(base)
    phi = rule.phi(low) if isinstance(rule, Compound) else None
    measured = seconds(network) if budget.latency is not None else None
    larger = {name: seen.get(bigger) if name == LATENCY else used(cost(bigger), name) for name in budget.limits}
    known = {name: amount for name, amount in larger.items() if amount is not None}
    return ScaledNetwork(base, network, rule.name, requested, phi, measured, binding, known)


def _bisected(low: float, exceeded: Callable[[float], list[str]]) -> tuple[float, float]:
    """Return the largest amount that keeps the limits, from one that does, and the next one, which exceeds some."""
    high, over = low, False
    while high < LARGEST and not over:
        low, high = high, high + 1.0
        over = bool(exceeded(high))
    while over and high - low > PRECISION:
        middle = (low + high) / 2
        if exceeded(middle):
            high = middle
        else:
            low = middle
    return low, high


def simplified(base: Network, factors: Factors) -> Factors:
    """Return the factors with as few digits as give the same network."""
    network = factors.apply(base)
    for digits in range(2, 6):
        rounded = Factors(*(round(factor, digits) for factor in factors))
        if min(rounded) > 0 and rounded.apply(base) == network:
            return rounded
    return factors


def alternatives(
    base: Network, budget: Budget, chosen: ScaledNetwork, measure: Measure | None = None
) -> Iterator[ScaledNetwork]:
    """Spend the same budget on depth, width and resolution alone, and by the other published rule."""
    for rule in RULES:
        if rule.name != chosen.rule:
            try:
                yield scale_to_budget(base, budget, rule, measure)
            except UsageError:  # no limit binds in this dimension, or the base cannot become small enough
                continue


def _scaled(base: Network, rule: Rule, amount: float) -> Network | str:
    """Return the network of an amount, or why it cannot be built."""
    try:
        return rule.factors(amount).apply(base)
    except NetworkError as error:
        return str(error)


def _feasible(
    base: Network, budget: Budget, rule: Rule, exceeded: Callable[[float], list[str]], seconds: Measure
) -> float:
    """Return an amount, in whole doublings, at which every limit is kept; 0 if the base keeps them."""
    amount, smallest = 0.0, base
    while exceeded(amount):
        smaller = _scaled(base, rule, amount)
        if isinstance(smaller, str) or amount <= SMALLEST:
            raise ArgumentError("budget", _impossible(base, budget, smallest, rule, seconds))
        smallest = smaller
        amount -= 1.0
    return amount


def _impossible(base: Network, budget: Budget, smallest: Network, rule: Rule, seconds: Measure) -> str:
    taken = cost(smallest)
    needed = {name: used(taken, name) for name in budget.exceeded_by(taken)}
    if budget.latency is not None and (least := seconds(smallest)) > budget.latency:
        needed[LATENCY] = least
    needs = " and ".join(f"{format_amount(name, amount)} of {name}" for name, amount in needed.items())
    return (
        f"{budget} is too small for {base.name} scaled by {rule.name}: the smallest network, at "
        f"{format_resolution(smallest.resolution)} px, needs {needs}; {SMALLER_BASE}"
    )


def _depth(network: Network) -> int:
    return sum(stage.repeats for stage in network.stages if stage.block.repeatable)


def _widths(network: Network) -> list[float]:
    """Return the widths that the stages' blocks hold: channels, or a growth rate."""
    blocks = [stage.block for stage in network.stages]
    return [float(getattr(block, name)) for block in blocks for name in block.widths]
