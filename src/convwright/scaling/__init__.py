"""Compound scaling: budgets, plans, the two-step search, and families."""

from convwright.scaling.budget import Budget, parse_budget
from convwright.scaling.plan import Plan, plan_budget, plan_factors
from convwright.scaling.rules import RULES, Compound, Rule

__all__ = ["RULES", "Budget", "Compound", "Plan", "Rule", "parse_budget", "plan_budget", "plan_factors"]
