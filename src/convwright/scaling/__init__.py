"""Compound scaling: budgets, plans, the search for coefficients, and families."""

from convwright.scaling.budget import Budget, parse_budget
from convwright.scaling.plan import ScaledNetwork, scale_by_factors, scale_to_budget
from convwright.scaling.rules import RULES, Compound, Rule

__all__ = [
    "RULES",
    "Budget",
    "Compound",
    "Rule",
    "ScaledNetwork",
    "parse_budget",
    "scale_by_factors",
    "scale_to_budget",
]
