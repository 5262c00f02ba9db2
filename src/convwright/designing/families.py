"""The families that a design draws its candidates from, and how their networks are scaled to a budget."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from convwright.arch import Network, at, fit_resolution
from convwright.arch.cost import cost
from convwright.arch.expression import network
from convwright.arch.resolution import Resolution, sides
from convwright.errors import ArgumentError, NetworkError
from convwright.scaling.budget import LATENCY, Budget, format_need, used
from convwright.scaling.plan import ScaledNetwork, scale_to_budget
from convwright.scaling.rules import Rule, Shares

SMALL_IMAGES = 64
"""Images with a shorter side below this are learnt by networks made for CIFAR."""
BALANCED = Shares("depth and width", 0.5, 0.5, 0.0)
DEEPER, WIDER = Shares("depth", 1.0, 0.0, 0.0), Shares("width", 0.0, 1.0, 0.0)
"""Rules that spend a budget at a fixed resolution: on depth and width together, or on one of them."""
LATENCY_SHARE = 0.9
"""Share of a limit on latency that a candidate may use, since the exported file is measured again."""
MAX_HALVINGS = 16.0
"""Halvings of the multiply-adds below which no network is looked for."""
MAX_TIME_RAISES = 4
"""How often the limit of time is raised fourfold before it is given up."""
MAX_MEASUREMENTS = 4
"""Most measurements of latency for one candidate."""


@dataclass(frozen=True)
class Family:
    """Networks of one kind.

    Args:
        title: Name of the family.
        idea: What distinguishes it, in a few words.
        small: Expression of the base for small images.
        large: Expression of the base for larger images.
        least: Smallest height of the last feature maps in pixels.
    """

    title: str
    idea: str
    small: str
    large: str
    least: int = 4

    def base(self, resolution: Resolution, channels: int, classes: int) -> Network:
        """Return the base network for images.

        Args:
            resolution: Side of the images, or (height, width).
            channels: Channels of the images.
            classes: Number of classes.
        """
        expression = self.small if min(sides(resolution)) < SMALL_IMAGES else self.large
        fitted = fit_resolution(network(expression), resolution, self.least)
        return at(fitted, channels=channels, classes=classes)


SMALL_DENSENET = "densenet121|scale:d=0.34,w=0.375"
FAMILIES = (
    Family("DenseNet-BC", "dense connections", SMALL_DENSENET, "densenet121", 2),
    Family("SE-ResNet", "residual connections and SE", "cifar_seresnet20", "seresnet18"),
    Family("EfficientNet", "inverted bottlenecks and SE", "efficientnet_b0", "efficientnet_b0", 2),
    Family("ResNet", "residual connections", "cifar_resnet20", "resnet18"),
    Family("EfficientNet-Lite", "inverted bottlenecks", "efficientnet_lite0", "efficientnet_lite0", 2),
    Family("SE-DenseNet-BC", "dense connections and SE", f"{SMALL_DENSENET}|se:16", "densenet121|se:16", 2),
    Family("MobileNetV2", "inverted bottlenecks", "mobilenet_v2", "mobilenet_v2", 2),
    Family("SE-MobileNetV2", "inverted bottlenecks and SE", "mobilenet_v2|se:4", "mobilenet_v2|se:4", 2),
)
"""The three papers' families first: a short design has time for these alone."""

Measure = Callable[[Network], float]
"""Returns the latency of a network in seconds."""


def scale_within(base: Network, budget: Budget, rule: Rule, measure: Measure | None = None) -> ScaledNetwork:
    """Return the largest network of a rule that is within the budget.

    A limit on latency is turned into one on multiply-adds, which is corrected by measuring the network that it gives:
    that takes a few measurements where bisection takes a dozen.

    Args:
        base: The network to scale.
        budget: The limits.
        rule: How depth and width grow.
        measure: Returns the latency of a network; needed where the budget limits it.

    Raises:
        ArgumentError: Even the smallest network exceeds the budget, or no limit binds.
    """
    if budget.latency is None:
        return _scale_counted(base, budget, rule)
    if measure is None:
        raise ArgumentError("budget", "a limit on latency needs a function that measures it")
    target = budget.latency * LATENCY_SHARE
    best: ScaledNetwork | None = None
    macs = cost(base).macs * target / measure(base)
    for _ in range(MAX_MEASUREMENTS):
        limits = dict(budget.counted)
        scaled = _scale_counted(base, Budget(limits | {"macs": min(macs, limits.get("macs", macs))}), rule)
        seconds = measure(scaled.network)
        if seconds <= target:
            if best is None or scaled.cost.macs > best.cost.macs:
                best = scaled
            if seconds >= 0.85 * target or macs > limits.get("macs", macs):
                break
        macs = scaled.cost.macs * min(3.0, max(0.2, 0.97 * target / seconds))
    if best is None:
        raise ArgumentError("budget", f"no {base.name} that was tried runs an image in {budget.latency * 1e3:.3g} ms")
    return best


def _scale_counted(base: Network, budget: Budget, rule: Rule) -> ScaledNetwork:
    return fill_budget(scale_to_budget(base, budget, rule), budget)


def fill_budget(scaled: ScaledNetwork, budget: Budget) -> ScaledNetwork:
    """Return a scaled network, or a wider or deeper one that uses more of the budget.

    Widths are rounded to multiples of 8 and depths to whole blocks, so a small network that grows in both at once may
    leave half of its budget unused.

    Args:
        scaled: A network within the budget.
        budget: Limits on what is computed.
    """
    best = scaled
    for rule in (WIDER, DEEPER):
        try:
            other = scale_to_budget(scaled.network, budget, rule)
        except (ArgumentError, NetworkError):
            continue
        if _share(other, budget) > _share(best, budget) + 0.02:
            best = other
    return best


def _share(scaled: ScaledNetwork, budget: Budget) -> float:
    """Return the share that a network uses of the limit that it comes closest to."""
    return max(used(scaled.cost, name) / limit for name, limit in budget.counted.items())


def smallest(base: Network) -> Network:
    """Return the smallest network that scaling a base in depth and width gives."""
    network, amount = base, 0.0
    while amount > -MAX_HALVINGS:
        amount -= 1.0
        try:
            network = BALANCED.factors(amount).apply(base)
        except NetworkError:
            break
    return network


@dataclass(frozen=True)
class CandidateLimits:
    """What a candidate may cost: the user's budget, and what can be trained in the time."""

    budget: Budget | None
    measure: Measure | None = None
    """Returns the latency of a network in the engine that serves it."""
    seconds_per_mac: Mapping[str, float] = field(default_factory=dict)
    """Seconds of a training step for each image and multiply-add, by name of the base network."""
    image_seconds: float = 1.0
    """Seconds that training may spend on each image of an epoch."""

    def scale(self, base: Network, rule: Rule) -> ScaledNetwork:
        """Return the largest network of a rule within the limits.

        The limit of time is a guess, as small networks spend most of their time on other things than multiply-adds:
        it is raised where it alone leaves no network.

        Raises:
            ArgumentError: Even the smallest network exceeds the user's budget.
        """
        counted = dict(self.budget.counted) if self.budget else {}
        latency = {} if self.budget is None or self.budget.latency is None else {LATENCY: self.budget.latency}
        if not self.seconds_per_mac:
            return scale_within(base, Budget(counted | latency), rule, self.measure)
        trainable = cost(base).macs * self.image_seconds / self._seconds(base)
        for _ in range(MAX_TIME_RAISES):
            macs = min(trainable, counted.get("macs", trainable))
            try:
                return scale_within(base, Budget(counted | latency | {"macs": macs}), rule, self.measure)
            except ArgumentError:
                if macs == counted.get("macs"):
                    raise
            trainable *= 4
        return scale_within(base, Budget(counted | latency), rule, self.measure)

    def exceeded_by(self, network: Network) -> str:
        """Return what a network needs above the user's budget and what it allows, as text; empty if it is within it."""
        if self.budget is None:
            return ""
        count = cost(network)
        over = {name: used(count, name) for name in self.budget.exceeded_by(count)}
        if not over and self.budget.latency is not None and self.measure is not None:
            seconds = self.measure(network)
            over = {LATENCY: seconds} if seconds > self.budget.latency * LATENCY_SHARE else {}
        if not over:
            return ""
        needs = " and ".join(format_need(name, amount) for name, amount in over.items())
        return f"{needs}; the budget allows {Budget({name: self.budget.limits[name] for name in over}).allowance}"

    def _seconds(self, base: Network) -> float:
        """Return the seconds of a training step for each image.

        Of a network that was scaled or changed otherwise, they follow from the base that its name begins with, of
        others from the slowest base.
        """
        bases = [name for name in self.seconds_per_mac if base.name.startswith(name)]
        known = max(bases, key=len, default=None)
        per_mac = max(self.seconds_per_mac.values()) if known is None else self.seconds_per_mac[known]
        return cost(base).macs * per_mac

    def with_most_macs(self, macs: float) -> "CandidateLimits":
        """Return limits with this many multiply-adds at most, and none of time.

        Args:
            macs: Multiply-adds of a network that keeps these limits.
        """
        counted = dict(self.budget.limits) if self.budget else {}
        return replace(
            self, budget=Budget(counted | {"macs": min(macs, counted.get("macs", macs))}), seconds_per_mac={}
        )
