"""The options of `plan`: a budget, a compound coefficient or factors, and how latency is measured."""

from collections.abc import Mapping
from dataclasses import dataclass

from convwright.arch import Network
from convwright.errors import ArgumentError, UsageError
from convwright.scaling.budget import Budget, as_budget
from convwright.scaling.plan import alternatives, scale_by_factors, scale_to_budget
from convwright.scaling.plan_result import ScalingPlan
from convwright.scaling.rules import Compound, Factors

Three = tuple[float | None, float | None, float | None]


@dataclass(frozen=True)
class LatencyOptions:
    """How latency is measured; see `plan`."""

    batch: int = 1
    threads: int | None = None
    engine: str = "torch"
    remeasure: bool = False

    def check_unused(self) -> None:
        """Check that no option is given, since latency is not measured.

        Raises:
            ArgumentError: An option is given.
        """
        for name, value in vars(self).items():
            if value != getattr(LatencyOptions, name):
                subject = f"{value} measures latency" if isinstance(value, str) else "is about measuring latency"
                raise ArgumentError(name, f"{subject}, which only a budget such as 'latency<=3ms' limits")


@dataclass(frozen=True)
class PlanRequest:
    """How a network is to be scaled."""

    budget: Budget | None
    phi: float | None
    factors: Three
    """Factors of depth, width and resolution."""
    coefficients: Three
    """alpha, beta and gamma; None: as published."""
    compare: bool
    latency: LatencyOptions

    @classmethod
    def of(
        cls,
        budget: Budget | Mapping[str, float] | str | None,
        phi: float | None,
        factors: Three,
        coefficients: Three,
        compare: bool,
        latency: LatencyOptions,
    ) -> "PlanRequest":
        """Return a request whose options have an effect together.

        Raises:
            ArgumentError: A value cannot be used, or an option would have no effect.
            UsageError: Not exactly one of budget, phi and factors is given.
        """
        by_factors = any(factor is not None for factor in factors)
        if sum([budget is not None, phi is not None, by_factors]) != 1:
            raise UsageError("give one of budget, phi, or factors (depth, width, resolution)")
        for name, value in zip(("alpha", "beta", "gamma"), coefficients, strict=True):
            if by_factors and value is not None:
                raise ArgumentError(name, "needs a budget or phi; depth, width and resolution are factors themselves")
        limits = as_budget(budget) if budget is not None else None
        if limits is None and not compare:
            raise ArgumentError("compare", "needs a budget, which alternatives are compared at")
        if limits is None or limits.latency is None:
            latency.check_unused()
        return cls(limits, phi, factors, coefficients, compare, latency)

    @property
    def rule(self) -> Compound:
        """Compound scaling with the coefficients that are given, and the published ones in place of the others."""
        alpha, beta, gamma = self.coefficients
        published = Compound()
        return Compound(
            published.alpha if alpha is None else alpha,
            published.beta if beta is None else beta,
            published.gamma if gamma is None else gamma,
        )

    def plan(self, base: Network) -> ScalingPlan:
        """Scale a network."""
        rule = self.rule
        if self.phi is not None:
            return ScalingPlan(scale_by_factors(base, rule.at(self.phi), rule.name, self.phi))
        if self.budget is None:
            factors = Factors(*(1.0 if factor is None else factor for factor in self.factors))
            return ScalingPlan(scale_by_factors(base, factors))
        if self.budget.latency is not None:
            return self._measured(base, self.budget)
        chosen = scale_to_budget(base, self.budget, rule)
        return ScalingPlan(chosen, self.budget, tuple(alternatives(base, self.budget, chosen)) if self.compare else ())

    def _measured(self, base: Network, budget: Budget) -> ScalingPlan:
        from convwright.scaling.latency import stopwatch_with_progress

        setting = self.latency
        with stopwatch_with_progress(
            setting.batch, setting.threads, setting.engine, remeasure=setting.remeasure
        ) as stopwatch:
            chosen = scale_to_budget(base, budget, self.rule, stopwatch)
            others = tuple(alternatives(base, budget, chosen, stopwatch)) if self.compare else ()
        return ScalingPlan(chosen, budget, others, tuple(stopwatch.unreliable))
