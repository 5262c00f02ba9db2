"""Plans: the largest network that keeps a budget, for every family, and what rounding did."""

import math
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import convwright as cw
from convwright.errors import ArgumentError, ConvwrightWarning, UsageError
from convwright.scaling import RULES, Compound, parse_budget, scale_by_factors, scale_to_budget
from convwright.scaling.budget import used
from convwright.scaling.plan import alternatives
from convwright.scaling.plan_result import ScalingPlan
from convwright.scaling.rules import Factors
from convwright.timing import Timing

BASES = (
    "efficientnet_b0",
    "cifar_resnet20",
    "cifar_seresnet20",
    "densenet_bc_l40_k12",
    "mobilenet_v2",
    "mobilenet_v1|fit:32",
)


@pytest.mark.parametrize("name", BASES)
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_plan_keeps_its_budget_and_nothing_larger_does(name, rule):
    base = cw.network(name)
    cost = cw.cost(base)
    budget = parse_budget(f"macs<={3.3 * cost.macs:.0f}, params<={5 * cost.params:.0f}")
    plan = scale_to_budget(base, budget, rule)
    assert not budget.exceeded_by(plan.cost)
    assert plan.binding
    larger = rule.factors(_amount(rule, plan) + 0.6).apply(base)
    assert budget.exceeded_by(cw.cost(larger))
    assert plan.network == cw.network(plan.network.name), "its name makes it again"


def _amount(rule, plan):
    """Return the doublings of a plan, by its factors before rounding."""
    from math import log2

    return log2(plan.requested.work)


@settings(max_examples=25)
@given(st.floats(0.05, 40), st.floats(0.3, 20), st.floats(0.3, 10))
def test_any_budget_is_kept_or_refused_with_what_is_needed(macs, params, memory):
    base = cw.network("cifar_seresnet14")
    budget = parse_budget(f"macs<={macs}M, params<={params * 100:.4f}K, memory<={memory}MB")
    try:
        plan = scale_to_budget(base, budget)
        message = ""
        assert all(used(plan.cost, name) <= limit for name, limit in budget.limits.items())
    except UsageError as error:
        message = str(error)
    assert not message or "needs" in message


@pytest.mark.parametrize("name", BASES)
@pytest.mark.parametrize("phi", [1, 2, 3, 4])
def test_every_phi_doubles_multiply_adds_or_the_plan_says_why_not(name, phi):
    plan = scale_by_factors(cw.network(name), Compound().at(phi), phi=phi)
    if abs(plan.work / 2**phi - 1) > 0.1:
        assert "rounding changed" in plan.deviation or "alpha * beta^2 * gamma^2 is 1.92 and not 2" in plan.deviation
    else:
        assert "and not 2" not in plan.deviation


def test_coefficients_far_from_doubling_are_reported():
    plan = scale_by_factors(cw.network("cifar_resnet20|resolution:32"), Compound(1, 1.5, 1).at(2), phi=2)
    assert (
        "alpha * beta^2 * gamma^2 is 2.25 and not 2, so phi = 2 requests 5.06 times the multiply-adds and not 4.00"
        in plan.deviation
    )


def test_the_published_coefficients_double_multiply_adds_or_say_why_not():
    base = cw.network("efficientnet_b0")
    for phi in (1, 2, 3, 4):
        plan = scale_by_factors(base, Compound().at(phi), phi=phi)
        assert plan.requested.work == pytest.approx((1.2 * 1.1**2 * 1.15**2) ** phi)
        near = abs(plan.work / plan.requested.work - 1) <= 0.1
        assert near or "rounding changed depth +" in plan.deviation
    wide = scale_by_factors(base, Factors(1, 2, 1))
    assert wide.deviation == ""
    assert wide.actual.width == pytest.approx(2)


def test_a_growth_rate_is_a_dense_network_s_width():
    plan = scale_by_factors(cw.network("densenet_bc_l40_k12"), Factors(1, 2, 1))
    assert plan.actual == (1, 2, 1)


def test_the_same_budget_spent_otherwise():
    base = cw.network("efficientnet_b0")
    budget = parse_budget("macs<=1.5G, memory<=60MB")
    chosen = scale_to_budget(base, budget)
    others = {plan.rule: plan for plan in alternatives(base, budget, chosen)}
    assert set(others) == {"depth alone", "width alone", "resolution alone", "fast compound (mostly width)"}
    assert others["depth alone"].actual.width == 1
    assert others["resolution alone"].cost.params == cw.cost(base).params
    assert all(not budget.exceeded_by(plan.cost) for plan in others.values())


def test_an_impossible_limit_says_what_the_smallest_network_needs():
    with pytest.raises(
        UsageError, match=r"macs <= 1.00 k is too small .* the smallest network, at \d+ px, needs .* of macs"
    ):
        scale_to_budget(cw.network("efficientnet_b0"), parse_budget("macs<=1K"))


def test_an_impossible_latency_says_how_long_the_smallest_network_takes():
    seconds = lambda network: 2e-3 + cw.cost(network).macs * 1e-10  # noqa: E731 - starting alone takes 2 ms
    with pytest.raises(UsageError, match=r"latency <= 1 ms is too small .* at \d+ px, needs 2\.?\d* ms of latency"):
        scale_to_budget(cw.network("cifar_resnet20"), parse_budget("latency<=1ms"), measure=seconds)


def test_a_plan_with_latency_measures_few_networks():
    """A measurement takes under a second where a run takes under 0.1 s: the plan of B0 stays within a minute."""
    measured = []

    def seconds(network):
        measured.append(network)
        return cw.cost(network).macs * 5e-11

    base = cw.network("efficientnet_b0")
    budget = parse_budget("latency<=30ms, params<=50M")
    chosen = scale_to_budget(base, budget, measure=seconds)
    others = list(alternatives(base, budget, chosen, measure=seconds))
    assert len(others) == 4
    assert len(measured) <= 60


def test_latency_is_kept_too():
    base = cw.network("cifar_resnet20")
    seconds = lambda network: cw.cost(network).macs * 1e-10  # noqa: E731 - a machine of 10 GMAC/s
    plan = scale_to_budget(base, parse_budget("latency<=10ms, params<=100M"), measure=seconds)
    assert plan.binding == ("latency",)
    assert 7e-3 < plan.seconds <= 10e-3
    with pytest.raises(UsageError, match="budget: a limit on latency needs a function that measures it"):
        scale_to_budget(base, parse_budget("latency<=10ms"))


def test_a_budget_that_bounds_nothing_is_refused():
    resolution = RULES[3]
    assert resolution.name == "resolution alone"
    with pytest.raises(UsageError, match="does not limit the size of resnet18 scaled by resolution alone"):
        scale_to_budget(cw.network("resnet18"), parse_budget("params<=20M"), resolution)


def test_coefficients_below_one_are_refused():
    with pytest.raises(UsageError, match="alpha must be a number from 1"):
        Compound(0.9, 1.1, 1.1)
    with pytest.raises(UsageError, match="not all of them 1"):
        Compound(1, 1, 1)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e300, 10**400, -1.0])
def test_numbers_beyond_all_bounds_are_refused(value):
    base = cw.network("cifar_resnet8")
    for place in range(3):
        coefficients = [1.2, 1.1, 1.15]
        coefficients[place] = value
        with pytest.raises(UsageError, match="must be a number from 1 to 100"):
            Compound(*coefficients)
        factors = [1.0, 1.0, 1.0]
        factors[place] = value
        with pytest.raises(UsageError, match="factor must be above 0 and at most 100"):
            scale_by_factors(base, Factors(*factors))
    if value != -1:
        with pytest.raises(UsageError, match="phi must be a number from -100 to 100"):
            scale_by_factors(base, Compound().at(value), "compound", value)


@pytest.mark.parametrize("budget", ["macs<=150M", "params<=2M", "memory<=20MB, macs<=1G", "macs<=150M, params<=1M"])
@pytest.mark.parametrize("base", ["efficientnet_b0", "mobilenet_v2", "cifar_resnet20"])
def test_what_binds_follows_from_the_numbers_that_are_shown(base, budget):
    plan = cw.plan(base, budget)
    limits = plan.budget.limits
    for scaled in (plan.chosen, *plan.alternatives):
        assert all(scaled.used(name) <= limit for name, limit in limits.items())
        assert scaled.binding == tuple(name for name, limit in limits.items() if scaled.larger[name] > limit)
        assert scaled.binding


def test_a_limit_with_much_slack_binds_only_where_the_next_network_is_shown_to_exceed_it():
    """A latency that grows in one large step, as with a machine's cache."""
    base = cw.network("cifar_resnet20")
    seconds = lambda network: 0.03 if cw.cost(network).macs > 40e6 else 0.004  # noqa: E731
    budget = parse_budget("latency<=20ms, params<=100M")
    chosen = scale_to_budget(base, budget, measure=seconds)
    text = str(ScalingPlan(chosen, budget))
    row = next(line for line in text.splitlines() if line.startswith("latency"))
    assert row.split() == ["latency", "20", "ms", "4", "ms", "80.0%", "30", "ms", "binds"]
    assert "Rounding makes networks grow in steps" in " ".join(text.split())


def test_a_plan_of_a_busy_machine_makes_no_statement_on_latency(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(
        "convwright.scaling.latency.Stopwatch._measure",
        lambda _, network: Timing((cw.cost(network).macs * 1e-10,), doubt="threads waited for a core"),
    )
    with pytest.warns(ConvwrightWarning, match="is unreliable because the machine was busy"):
        plan = cw.plan("cifar_resnet20", "latency<=10ms, params<=100M")
    assert plan.unreliable
    assert plan.to_dict()["latency_reliable"] is False
    assert "binds" not in str(plan).replace("A limit binds", "")
    assert "no statement on latency is reliable" in " ".join(str(plan).split())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"phi": 1, "compare": False}, "compare: needs a budget"),
        ({"width": 2, "alpha": 1.2}, "alpha: needs a budget or phi"),
        ({"width": 2, "gamma": 1.2}, "gamma: needs a budget or phi"),
        ({"phi": 1, "threads": 1}, "threads: is about measuring latency, which only a budget such as"),
        ({"budget": "macs<=1G", "remeasure": True}, "remeasure: is about measuring latency"),
        ({"budget": "macs<=1G", "batch": 8}, "batch: is about measuring latency"),
        ({"budget": "macs<=1G", "engine": "openvino"}, "engine: openvino measures latency, which only a budget"),
    ],
)
def test_an_option_without_effect_is_refused(options, message):
    with pytest.raises(ArgumentError, match=message):
        cw.plan("efficientnet_b0", **options)


def test_tables_of_plans_fit_80_columns(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    for plan in (cw.plan("efficientnet_b0", "macs<=150M, params<=3M", classes=12), cw.plan("efficientnet_b0", phi=2)):
        assert max(map(len, str(plan).splitlines())) <= 80
    assert max(map(len, str(cw.family("efficientnet_b0", phi=2)).splitlines())) <= 80


@pytest.mark.parametrize("name", BASES)
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_budgets_near_the_smallest_network_are_kept_or_refused_with_what_it_needs(name, rule):
    base = cw.network(name)
    for amount in (-16.0, -15.0, -12.0, -8.0):
        try:
            smallest = rule.factors(amount).apply(base)
        except UsageError:
            continue
        macs, message = cw.cost(smallest).macs, ""
        try:
            found = scale_to_budget(base, parse_budget(f"macs<={macs}"), rule)
        except ArgumentError as error:
            message = str(error)
        else:
            assert found.cost.macs <= macs
            assert min(found.requested) > 0
        assert not message or re.search(r"the smallest network, at \d+ px, needs [\d.]+ \w? ?of macs; use a", message)
