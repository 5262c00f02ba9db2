"""Which ideas helped in a design: signs, certainty, and that only trials of one round are compared."""

import pytest
import torch

from convwright.arch.cost import cost
from convwright.designing.candidates import Candidate, first_candidates, variations
from convwright.designing.families import CandidateLimits
from convwright.designing.ideas import PAPERS, SPENDING, effects_of, not_compared
from convwright.designing.state import State
from convwright.designing.trials import Trial, pack_bits
from convwright.scaling.budget import as_budget

IMAGES = 500


def trial(name: str, share: float, round_: int = 0, problem: str | None = None) -> Trial:
    right = torch.arange(IMAGES) < share * IMAGES
    return Trial(name, round_, 0, "", share, pack_bits(right), IMAGES, 1.0, 10.0, 0.1, problem)


@pytest.fixture
def state(tmp_path) -> State:
    """A design whose two rounds have ended."""
    found = [
        each
        for each in first_candidates(28, 1, 10, CandidateLimits(as_budget("macs<=5M")))
        if isinstance(each, Candidate)
    ]
    leader = next(each for each in found if each.name == "SE-ResNet")
    for name, idea in (("a", "SE removed"), ("b", "fewer pixels"), ("c", "averaged weights")):
        found.append(Candidate(name, leader.family, idea, leader.network, {}, leader.name))
    state = State(tmp_path, {}, candidates=found, rounds=[["ResNet", "SE-ResNet"], ["SE-ResNet", "a", "b", "c"]])
    state.trials = [trial("ResNet", 0.7), trial("SE-ResNet", 0.9), trial("MobileNetV2", 0.9, problem="diverged")]
    state.trials += [trial("SE-MobileNetV2", 0.9)]
    state.trials += [trial("SE-ResNet", 0.95, 1), trial("a", 0.8, 1), trial("b", 0.954, 1), trial("c", 0.5, 1)]
    return state


def test_each_idea_is_judged_by_the_trials_that_differ_in_it(state) -> None:
    found = {(each.with_it, each.without): each for each in effects_of(state)}
    assert found.keys() == {("SE-ResNet", "ResNet"), ("SE-ResNet", "a"), ("b", "SE-ResNet"), ("c", "SE-ResNet")}
    assert {key: each.verdict for key, each in found.items()} == {
        ("SE-ResNet", "ResNet"): "helps",
        ("SE-ResNet", "a"): "helps",
        ("b", "SE-ResNet"): "undecided",
        ("c", "SE-ResNet"): "hurts",
    }
    assert found["SE-ResNet", "a"].pair.difference == pytest.approx(0.15)
    assert {each.idea for each in found.values()} == {"SE", "how the budget is spent", "training"}
    assert not_compared(state) == ["dense connections", "compound scaling"]


def test_intervals_hold_for_all_comparisons_together(state) -> None:
    for each in effects_of(state):
        assert each.comparisons == 4
        low, high = each.pair.interval
        assert each.interval[0] < low < each.pair.difference < high < each.interval[1]


def test_sentences_say_what_was_compared(state) -> None:
    sentences = [each.sentence for each in effects_of(state)]
    assert any(line.startswith("SE helped: +20.0 percentage points (") for line in sentences)
    assert any("made no difference that these images can show" in line for line in sentences)
    assert all("500 validation images" in line for line in sentences)


def test_every_pair_is_compared_once_in_its_last_shared_round(state) -> None:
    state.rounds = [[*state.rounds[1]], [*state.rounds[1]], ["SE-ResNet", "a"]]
    state.trials = [trial(name, 0.5, round_) for round_ in (0, 1) for name in state.rounds[0]]
    state.trials += [trial("SE-ResNet", 0.9, 2), trial("a", 0.6, 2)]
    found = {(each.with_it, each.without): each for each in effects_of(state)}
    assert len(found) == len(effects_of(state)) == 3
    assert found["SE-ResNet", "a"].pair.difference == pytest.approx(0.3)
    assert found["b", "SE-ResNet"].pair.difference == 0


def test_spending_on_one_dimension_is_not_filed_under_a_paper(tmp_path) -> None:
    limits = CandidateLimits(as_budget("macs<=10M, params<=300K"))
    leader = next(each for each in first_candidates(32, 3, 5, limits) if isinstance(each, Candidate))
    others = [each for each in variations(leader, limits) if isinstance(each, Candidate)]
    others = [each for each in others if not each.idea.startswith("SE")]
    names = [each.name for each in (leader, *others)]
    state = State(tmp_path, {}, candidates=[leader, *others], rounds=[names])
    state.trials = [trial(leader.name, 0.5), *(trial(each.name, 0.9) for each in others)]
    found = effects_of(state)
    assert [each.with_it for each in found] == [each.name for each in others]
    for each in found:
        assert each.idea == SPENDING
        assert each.to_dict()["paper"] is None
        assert each.verdict == "helps"
    changes = {state.candidate(each.with_it).idea: each.change for each in found}
    assert changes["fewer pixels"] == "fewer pixels, more depth and width"
    assert not_compared(state) == [*PAPERS]


def test_sentences_have_the_costs_of_both(state) -> None:
    for each in effects_of(state):
        names = (each.with_it, each.without)
        assert each.macs == tuple(cost(state.candidate(name).network).macs for name in names)
        assert each.sentence.count(" multiply-adds, 10 s)") == 2
