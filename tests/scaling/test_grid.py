"""The grid of a search: every point near the target, and each network once after rounding."""

import itertools
from fractions import Fraction

import pytest

import convwright as cw
from convwright.errors import UsageError
from convwright.scaling.grid import Grid

BASE = "cifar_resnet20|resolution:14"


@pytest.mark.parametrize(("step", "target", "tolerance"), [(0.1, 2, 0.1), (0.05, 2, 0.05), (0.25, 3, 0.2)])
def test_the_grid_is_all_points_near_the_target(step, target, tolerance):
    most = int((target * 1.3 - 1) / step) + 2
    exact, near = Fraction(str(step)), Fraction(str(tolerance))
    steps = [1 + index * exact for index in range(most)]
    wanted = {
        tuple(map(float, (a, b, c)))
        for a, b, c in itertools.product(steps, repeat=3)
        if abs(a * b * b * c * c / target - 1) <= near
    }
    points = [(rule.alpha, rule.beta, rule.gamma) for rule in Grid(step, target, tolerance).points()]
    assert set(points) == wanted
    assert len(points) == len(wanted)


def test_the_papers_own_coefficients_are_a_point_of_the_grid():
    assert any((rule.alpha, rule.beta, rule.gamma) == (1.2, 1.1, 1.15) for rule in Grid(0.05).points())


def test_candidates_meet_the_target_after_rounding_and_are_different_networks():
    base = cw.network(BASE)
    candidates = Grid().candidates(base)
    macs = cw.cost(base).macs
    assert len(candidates) > 4
    assert all(abs(one.macs / macs / 2 - 1) <= 0.1 for one in candidates)
    assert len({one.network for one in candidates}) == len(candidates)
    assert all(one.network == cw.network(one.network.name) for one in candidates), "a name makes its network again"


def test_a_thousand_candidates_are_costed_and_none_is_built(monkeypatch):
    import convwright.scaling.grid as module

    costed = []
    monkeypatch.setattr(module, "cost", lambda network: costed.append(network) or cw.cost(network))
    monkeypatch.setattr("torch.nn.Module.__init__", lambda *_: pytest.fail("a network was built"))
    candidates = Grid(0.025).candidates(cw.network("cifar_resnet20|resolution:14"))
    assert len(set(costed)) >= len(candidates) > 4
    assert len(list(Grid(0.025).points())) > 1000
    assert len(costed) >= 1000


def test_where_no_network_meets_the_target_the_message_says_what_to_change():
    with pytest.raises(UsageError, match=r"no point of the grid .* smaller step or a larger tolerance"):
        Grid(1.0, 2.0, 0.001).candidates(cw.network("cifar_resnet8|resolution:28"))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ((0, 2, 0.1), "step"),
        ((0.1, 1, 0.1), "target"),
        ((0.1, float("inf"), 0.1), "target"),
        ((0.1, 2, 1), "toler"),
    ],
)
def test_wrong_grids_are_refused(wrong, message):
    with pytest.raises(UsageError, match=message):
        Grid(*wrong)
